"""Excerpts for a person to read: where something was replaced, and what was left although it looks odd."""

from __future__ import annotations

import hashlib
import math
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import cast

from finetune.data.desensitize.cleaner import Cleaned
from finetune.data.desensitize.placeholders import PREFIX

MAX_SAMPLES = 20
MAX_PER_RULE = 3
AROUND = 160
MAX_RESIDUAL = 10
EXCERPT_CHARACTERS = 400
# A word of letters and digits that could be a key, once each of its signs is an `a` and any other a blank.
SUSPICIOUS = b"a" * 20
SHAPE = bytes(ord("a" if chr(byte) in string.ascii_letters + string.digits + "+/=_-" else " ") for byte in range(256))


@dataclass
class Samples:
    """Chosen while the rows go by: the first few of each rule, and the residue by a fixed pseudo-random order."""

    replaced: list[dict[str, object]] = field(default_factory=list)
    _by_rule: Counter[str] = field(default_factory=Counter)
    _odd: list[tuple[float, int, str]] = field(default_factory=list)
    _any: list[tuple[str, int, str]] = field(default_factory=list)

    def see(self, row: int, cleaned: Cleaned) -> None:
        """Consider one cleaned text of row number `row` (from 1, as they are cleaned) for both kinds of excerpts."""
        self.see_replaced(row, cleaned)
        self._see_residual(row, cleaned)

    def see_replaced(self, row: int, cleaned: Cleaned) -> None:
        for span in cleaned.spans:
            if self._by_rule[span.rule] < MAX_PER_RULE and len(self.replaced) < MAX_SAMPLES:
                self._by_rule[span.rule] += 1
                excerpt = cleaned.text[max(0, span.start - AROUND) : span.end + AROUND]
                self.replaced.append({"row": row, "rule": span.rule, "placeholder": span.key, "text": excerpt})

    def _see_residual(self, row: int, cleaned: Cleaned) -> None:
        order = hashlib.sha256(cleaned.text.encode()).hexdigest()
        self._any = nlargest(MAX_RESIDUAL, [*self._any, (order, row, cleaned.text[:EXCERPT_CHARACTERS])])
        odd = [(oddity(cleaned.text[start:end]), start, end) for start, end in _suspicious(cleaned.text)]
        if (most := max((score for score, *_ in odd), default=0.0)) > 0:
            oddest = max(_around(cleaned.text, start, end) for score, start, end in odd if score == most)
            self._odd = nlargest(MAX_RESIDUAL, [*self._odd, (most, row, oddest)])

    def move(self, places: Sequence[int]) -> None:
        """Rows were put in another order: `places` has the new number of each, from 1."""
        for sample in self.replaced:
            sample["row"] = places[cast(int, sample["row"]) - 1]
        self._odd = [(score, places[row - 1], text) for score, row, text in self._odd]
        self._any = [(order, places[row - 1], text) for order, row, text in self._any]

    def residual(self) -> list[dict[str, object]]:
        """What a person should read before agreeing: the oddest words left, and rows picked without a reason."""
        odd = [{"row": row, "why": "looks random", "text": text} for score, row, text in self._odd if score > 0]
        return odd + [{"row": row, "why": "picked at random", "text": text} for _, row, text in self._any]


def oddity(word: str) -> float:
    """Bits of entropy per character above prose, 0 for placeholders and for words without digits."""
    if PREFIX in word or not any(map(str.isdigit, word)) or not any(map(str.isalpha, word)):
        return 0.0
    counts = Counter(word).values()
    return max(0.0, -sum(count / len(word) * math.log2(count / len(word)) for count in counts) - 3.5)


def _suspicious(text: str) -> Iterator[tuple[int, int]]:
    """Words of letters and digits that could be a key. One byte a character: quicker to look through than by a pattern."""
    shape = text.encode("ascii", "replace").translate(SHAPE)
    start = shape.find(SUSPICIOUS)
    while start >= 0:
        end = shape.find(b" ", start)
        end = len(shape) if end < 0 else end
        yield start, end
        start = shape.find(SUSPICIOUS, end)


def _around(text: str, start: int, end: int) -> str:
    return text[max(0, start - AROUND) : end + AROUND][: EXCERPT_CHARACTERS + AROUND]
