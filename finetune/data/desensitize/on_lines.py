"""Where hints stand, and patterns that are tried only on their lines: such as never reach beyond a line.

A hint begins with a letter or a set of them: only such patterns are searched for quickly by the standard library. One that
begins with a look behind is tried at each character, which costs twenty times as much.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

DIGITS = bytes(ord("0") if chr(byte) in "0123456789" else byte for byte in range(256))


def matches(pattern: re.Pattern[str], hint: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """What `pattern.finditer` finds, given that each match has the hint in it."""
    return _on_lines(pattern, text, (found.start() for found in hint.finditer(text)))


def matches_with_digits(pattern: re.Pattern[str], hints: Sequence[bytes], text: str) -> Iterator[re.Match[str]]:
    """What `pattern.finditer` finds, given that each match has one of the hints in it once each digit is written as 0."""
    shape = _shape(text)
    found = [place for hint in hints for place in _places_of(hint, shape)]
    return _on_lines(pattern, text, sorted(found) if len(hints) > 1 else found)


def _on_lines(pattern: re.Pattern[str], text: str, hinted: Iterable[int]) -> Iterator[re.Match[str]]:
    end = -1
    for place in hinted:
        if place >= end:
            start = text.rfind("\n", 0, place) + 1
            end = text.find("\n", place)
            end = len(text) if end < 0 else end
            yield from pattern.finditer(text, start, end)


@lru_cache(maxsize=1)  # all rules ask for the same text, one after the other
def _shape(text: str) -> bytes:
    """One byte a character, each digit a 0; bytes are many times quicker to look through than by a pattern."""
    return text.encode("ascii", "replace").translate(DIGITS)


def _places_of(hint: bytes, shape: bytes) -> Iterator[int]:
    """Where a hint stands, once a line."""
    place = shape.find(hint)
    while place >= 0:
        yield place
        line = shape.find(b"\n", place)
        place = shape.find(hint, line) if line >= 0 else -1


def small(text: str) -> str:
    """The text in small letters, of the same length: a letter whose small form is longer stays as it is."""
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
    return lowered


def places(word: str, text: str) -> Iterator[int]:
    """Where a word stands, without overlaps."""
    place = text.find(word)
    while place >= 0:
        yield place
        place = text.find(word, place + len(word))
