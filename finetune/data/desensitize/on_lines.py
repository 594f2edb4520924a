"""Where hints stand, and patterns that are tried only on their lines: such as never reach beyond a line.

A hint begins with a letter or a set of them: only such patterns are searched for quickly by the standard library. One that
begins with a look behind is tried at each character, which costs twenty times as much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator


def matches(pattern: re.Pattern[str], hint: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """What `pattern.finditer` finds, given that each match has the hint in it."""
    end = -1
    for found in hint.finditer(text):
        if found.start() >= end:
            start = text.rfind("\n", 0, found.start()) + 1
            end = text.find("\n", found.end())
            end = len(text) if end < 0 else end
            yield from pattern.finditer(text, start, end)


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
