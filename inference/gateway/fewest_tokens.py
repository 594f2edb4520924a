"""A lower bound of a text's tokens from its bytes alone, so that what is far too long is refused without being tokenized.

Every byte is of one class and in one token. No token has more than so many bytes of a class: a text's bytes, each
weighed as its class' share of such a token, weigh at most as much as its tokens would if all were the heaviest one. That
holds for byte-level BPE, as the catalog's models have it, which drops no byte but those that it has no token for; for
all others nothing is claimed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from typing import Any

# Letters and digits, what is not ASCII, all others: runs of these (spaces, dashes) make the longest tokens by far.
_WORDS = bytes(byte for byte in range(128) if chr(byte).isalnum())
_HIGH = bytes(range(128, 256))
_OTHERS = bytes(byte for byte in range(128) if byte not in _WORDS)
_KEEPS = frozenset({"ByteLevel", "Digits", "Split", "Punctuation"})


class FewestTokens:
    """Of one tokenizer, by the byte strings that its tokens stand for."""

    def __init__(self, tokens: Collection[bytes]) -> None:
        kept = {token[0] for token in tokens if len(token) == 1}
        self._but = [bytes(set(range(256)) - (kept & set(one))) for one in (_WORDS, _HIGH, _OTHERS)]
        counts = {self._count(token) for token in tokens}
        most = [max((count[number] for count in counts), default=0) for number in range(3)]
        self._weights = tuple(1 / max(one, 1) for one in most)
        self._heaviest = max((self._weigh(count) for count in counts), default=math.inf)

    def of(self, text: str) -> int:
        """At least so many tokens has a text."""
        weight = self._weigh(self._count(text.encode(errors="replace"))) / self._heaviest
        return math.ceil(weight - 1e-6 * (1 + weight))  # sums of fractions are rounded

    def _weigh(self, count: tuple[int, ...]) -> float:
        return sum(number * weight for number, weight in zip(count, self._weights, strict=True))

    def _count(self, text: bytes) -> tuple[int, ...]:
        """Bytes of each class that are kept."""
        return tuple(len(text.translate(None, but)) for but in self._but)


def fewest_tokens(tokenizer_json: str) -> FewestTokens | None:
    """What a tokenizer's file allows to claim; None where it may lose bytes or is none of the known kind."""
    content = json.loads(tokenizer_json)
    model, added = content.get("model") or {}, content.get("added_tokens") or []
    if not _keeps_bytes(content, model) or any(one.get("lstrip") or one.get("rstrip") for one in added):
        return None
    letters = _letters()
    contents = {one["content"] for one in added}
    try:
        tokens = [bytes(letters[one] for one in token) for token in model["vocab"] if token not in contents]
    except KeyError:
        return None
    return FewestTokens([*tokens, *(one.encode() for one in contents)])


def _keeps_bytes(content: dict[str, Any], model: dict[str, Any]) -> bool:
    normalizer = content.get("normalizer")
    steps = list(_steps(content.get("pre_tokenizer")))
    affixes = model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")
    return (
        model.get("type") == "BPE"
        and (normalizer is None or normalizer == {"type": "Sequence", "normalizers": []})
        and any(step["type"] == "ByteLevel" for step in steps)
        and all(step["type"] in _KEEPS and step.get("behavior") != "Removed" for step in steps)
        and not any(affixes)
        and not model.get("fuse_unk")
    )


def _steps(pre_tokenizer: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    if pre_tokenizer is None:
        return
    if pre_tokenizer["type"] == "Sequence":
        for one in pre_tokenizer["pretokenizers"]:
            yield from _steps(one)
    else:
        yield pre_tokenizer


def _letters() -> dict[str, int]:
    """Which byte a letter of a byte-level vocabulary stands for: printable ones for themselves, others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + at): byte for at, byte in enumerate(others)}
