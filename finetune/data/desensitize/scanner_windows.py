"""The parts of a text that a scanner for keys has to read: lines with something like a key, a word of a rule near them.

A scanner's time is its patterns' over every character. Most lines of code hold nothing that could be a key.
"""

from __future__ import annotations

import re
import string
from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from finetune.data.desensitize import scanner_words
from finetune.data.desensitize.on_lines import small

# Letters written as code points (`\u0067`, `U+0067`), which the scanner reads as letters.
POINTS = r"(?:(?:\\u|U\+)[0-9A-Fa-f]{4} ?\\?){4}"
# Ten characters in a row, one of them a digit; or so many changes of case that no name has them.
RUN = re.compile(POINTS + r"|[A-Za-z0-9_+/=.~%-]{10,}")
POINTS_ANYWHERE = re.compile(POINTS)
LEAST_RUN, LEAST_CHANGES, LEAST_ENCODED = 10, 3, 20
OTHERS, SIGNS, SMALL, CAPITALS, DIGITS = range(5)
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


def _kinds() -> npt.NDArray[np.uint8]:
    """What each byte is within a run; those outside of ASCII and of runs are 0."""
    table = np.zeros(256, dtype=np.uint8)
    kinds = ((SIGNS, "_+/=.~%-"), (SMALL, string.ascii_lowercase), (CAPITALS, string.ascii_uppercase))
    for kind, signs in (*kinds, (DIGITS, string.digits)):
        table[[ord(sign) for sign in signs]] = kind
    return table


KINDS = _kinds()


def worth_scanning(text: str) -> Iterator[str]:
    """The parts that may hold a key; all of the text where the rules' words are not known."""
    words = scanner_words.words_of_rules()
    if words is None:
        yield text
        return
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter whose small form is longer: places would be others
        windows, lowered = [(0, len(text))], small(text)
        runs: Sequence[Window] = windows
    else:
        runs = _runs(text)
        windows = list(_merged(sorted((*_around_runs(text, runs), *_around_marks(text, lowered)))))
    long = [start for start, end in runs if end - start >= LEAST_ENCODED]
    found = words.places(lowered) if windows else []
    for start, end in windows:
        if words.is_within(found, lowered, start, end) or _is_encoded(text, start, end, long):
            yield text[start:end]


def _is_encoded(text: str, start: int, end: int, long: list[int]) -> bool:
    """Whether a long word with a digit stands there, in which a key may be hidden; `long` is where long runs begin."""
    at = bisect_left(long, start)
    if text.find("%", start, end) < 0 and (at == len(long) or long[at] >= end):
        return False
    return any(DIGIT.search(word) for word in ENCODED.findall(text, start, end))


def _around_runs(text: str, runs: Sequence[Window]) -> Iterator[Window]:
    end = -1
    for start, stop in runs:
        if stop > end:
            yield _lines_around(text, start, stop, NEAR_LINES)
            end = text.find("\n", stop)
            end = len(text) if end < 0 else end


def _runs(text: str) -> Sequence[Window]:
    """What RUN finds with a digit or many changes of case in it, by arrays: many times faster than one word after the other."""
    if ("\\u" in text or "U+" in text) and POINTS_ANYWHERE.search(text):
        every = (match.span() for match in RUN.finditer(text))
        return [at for at in every if DIGIT.search(text, *at) or CHANGES.search(text, *at)]
    kinds = KINDS[np.frombuffer(b" " + text.encode("latin-1", "replace") + b" ", np.uint8)]
    inside = kinds != OTHERS
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[::2], edges[1::2]
    long = ends - starts >= LEAST_RUN
    starts, ends = starts[long], ends[long]
    if not len(starts):
        return ()
    pairs = np.column_stack((starts, ends)).ravel()
    digits = np.add.reduceat(kinds[1:] == DIGITS, pairs, dtype=np.int32)[::2] > 0
    rises = (kinds[1:-1] == SMALL) & (kinds[2:] == CAPITALS)
    changes = np.add.reduceat(np.append(rises, False), pairs, dtype=np.int32)[::2] >= LEAST_CHANGES
    some = np.flatnonzero(digits | changes)
    found = zip(starts[some].tolist(), ends[some].tolist(), digits[some].tolist(), strict=True)
    return [(start, end) for start, end, digit in found if digit or CHANGES.search(text, start, end)]


def _around_marks(text: str, lowered: str) -> Iterator[Window]:
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
