"""The parts of a text that a scanner for keys has to read: lines with something like a key, a word of a rule near them.

A scanner's time is its patterns' over every character. Most lines of code hold nothing that could be a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from finetune.data.desensitize import scanner_words

# Letters written as code points (`\u0067`, `U+0067`), which the scanner reads as letters.
POINTS = r"(?:(?:\\u|U\+)[0-9A-Fa-f]{4} ?\\?){4}"
# Ten characters in a row, one of them a digit; or so many changes of case that no name has them.
RUN = re.compile(POINTS + r"|[A-Za-z0-9_+/=.~%-]{10,}")
DIGIT = re.compile(r"[0-9]")
CHANGES = re.compile(r"(?:[a-z]+[A-Z]+){3}")
ENCODED = re.compile(POINTS + r"|[A-Za-z0-9+/_-]{20,}|%[0-9A-Fa-f]{2}")
NEAR_LINES = 2
# What tells of a key that is some lines away or hasn't the form of one.
MARKS = (
    "curl",
    "kind: secret",
    'kind: "secret',
    "kind:secret",
    ".apps.googleusercontent.com",
    "provider_x509",
    "<add key=",
    "://",
)
MARK_LINES = 12

Window = tuple[int, int]


def worth_scanning(text: str) -> Iterator[str]:
    """The parts that may hold a key; all of the text where the rules' words are not known."""
    pattern = scanner_words.pattern()
    if pattern is None:
        yield text
        return
    for start, end in _merged(sorted((*_around_runs(text), *_around_marks(text)))):
        part = text[start:end]
        if pattern.search(part.lower()) or any(DIGIT.search(word) for word in ENCODED.findall(part)):
            yield part


def _around_runs(text: str) -> Iterator[Window]:
    end = -1
    for match in RUN.finditer(text):
        if match.end() > end and (DIGIT.search(match[0]) or CHANGES.search(match[0])):
            window = _lines_around(text, match.start(), match.end(), NEAR_LINES)
            yield window
            end = text.find("\n", match.end())
            end = len(text) if end < 0 else end


def _around_marks(text: str) -> Iterator[Window]:
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter whose small form is longer: places would be others
        yield 0, len(text)
        return
    for mark in MARKS:
        place = lowered.find(mark)
        while place >= 0:
            window = _lines_around(text, place, place + len(mark), 0 if mark == "://" else MARK_LINES)
            yield window
            place = lowered.find(mark, window[1])


def _lines_around(text: str, start: int, end: int, lines: int) -> Window:
    for _ in range(lines + 1):
        start = text.rfind("\n", 0, max(0, start))
        if start < 0:
            break
    for _ in range(lines + 1):
        end = text.find("\n", end + 1)
        if end < 0:
            return start + 1, len(text)
    return start + 1, end


def _merged(windows: list[Window]) -> Iterator[Window]:
    start, end = 0, -1
    for first, last in windows:
        if first > end:
            if end >= 0:
                yield start, end
            start, end = first, last
        else:
            end = max(end, last)
    if end >= 0:
        yield start, end
