"""Texts of people stay text: what looks like one of a model's own control tokens never becomes one.

A tokenizer finds its special tokens wherever they stand. A source file or an answer that holds the text of one would teach the
model to end there, or to begin a hole. In documents such a mark is cut in two before it is tokenized, which keeps every
byte. A chat is rendered as a whole, so there a mark is broken by a character that no eye sees, as the gateway breaks it
in requests. Runs inside an engine slot.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Any

# How the marks look that are no special tokens by their flag: those of holes are not.
_USUAL = re.compile(r"<[|\uff5c][^<>|\uff5c\s]{1,64}[|\uff5c]>")
_BREAK = "\u200b"


@lru_cache(maxsize=4)
def _marks(tokenizer: Any) -> re.Pattern[str] | None:
    """Where one of a tokenizer's marks begins; None where it has none."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    texts = {one.content for one in added if len(one.content) > 1 and (one.special or _USUAL.fullmatch(one.content))}
    longest_first = sorted(texts, key=lambda text: (-len(text), text))
    return re.compile(f"(?=(?:{'|'.join(map(re.escape, longest_first))}))") if texts else None


def parts(tokenizer: Any, text: str) -> list[str]:
    """A text, cut behind the first character of each mark: joined it is the same, tokenized apart it holds no mark."""
    marks = _marks(tokenizer)
    cuts = [0, *(found.start() + 1 for found in marks.finditer(text)), len(text)] if marks else [0, len(text)]
    return [text[start:end] for start, end in pairwise(cuts)]


def broken(tokenizer: Any, text: str) -> str:
    """A text of a chat, with an invisible character in each mark."""
    return _BREAK.join(parts(tokenizer, text))
