"""A model's fill-in-the-middle tokens, as its own tokenizer has them: without all three there is no filling in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer

# DeepSeek-Coder-V2-Lite's tokens in PSM order, with U+FF5C and U+2581 (ASCII look-alikes are other tokens).
FIM_BEGIN = "<\uff5cfim\u2581begin\uff5c>"
FIM_HOLE = "<\uff5cfim\u2581hole\uff5c>"
FIM_END = "<\uff5cfim\u2581end\uff5c>"


@dataclass(frozen=True)
class FimTokens:
    """Token ids; `eos` is None where the tokenizer's configuration names no end."""

    begin: int
    hole: int
    end: int
    eos: int | None

    @property
    def stops(self) -> tuple[int, ...]:
        """What ends a filled hole: the model's end, and every token that only a next hole begins with."""
        own = (self.begin, self.hole, self.end)
        return own if self.eos is None else (*own, self.eos)


def read(model_path: Path, tokenizer: Tokenizer | None) -> FimTokens | None:
    """The tokens of a model; None where one of the three is not a single token."""
    if tokenizer is None:
        return None
    found = [_single(tokenizer, token) for token in (FIM_BEGIN, FIM_HOLE, FIM_END)]
    begin, hole, end = found
    if begin is None or hole is None or end is None or len(set(found)) != len(found):
        return None
    eos = _configured_end(model_path / "tokenizer_config.json")
    return FimTokens(begin, hole, end, None if eos is None else tokenizer.token_to_id(eos))


def _single(tokenizer: Tokenizer, token: str) -> int | None:
    ids = tokenizer.encode(token, add_special_tokens=False).ids
    return ids[0] if len(ids) == 1 and tokenizer.id_to_token(ids[0]) == token else None


class _Config(msgspec.Struct):
    eos_token: Any = None


def _configured_end(path: Path) -> str | None:
    try:
        eos = msgspec.json.decode(path.read_bytes(), type=_Config).eos_token
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    content = eos.get("content") if isinstance(eos, dict) else eos
    return content if isinstance(content, str) else None
