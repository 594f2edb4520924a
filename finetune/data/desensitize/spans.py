"""Where something was found in a text, and what to do with findings that overlap."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# Escapes as written in string literals. What follows one is the start of a word, though `\n13812345678` doesn't look it.
ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[nrtbfv0'\"\\])")
# Neither a letter nor a blank, so no rule matches into or across it.
MASK = "\x00"


@dataclass(frozen=True)
class Span:
    """`text[start:end]` is one datum; `key` is what makes two of them the same, however they are written."""

    start: int
    end: int
    rule: str
    kind: str
    key: str


def without_overlaps(text: str, spans: Iterable[Span]) -> list[Span]:
    """Spans in order; overlapping ones become one that covers all of them, named after the first and longest."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if not merged or span.start >= merged[-1].end:
            merged.append(span)
        elif span.end > merged[-1].end:
            first = merged[-1]
            merged[-1] = Span(first.start, span.end, first.rule, first.kind, text[first.start : span.end])
    return merged


def masked(text: str, spans: Iterable[Span]) -> str:
    """The text, of the same length, with the spans made unreadable for later rules."""
    pieces, position = [], 0
    for span in spans:
        pieces += [text[position : span.start], MASK * (span.end - span.start)]
        position = span.end
    return "".join([*pieces, text[position:]])


def without_escapes(text: str) -> str:
    """The text, of the same length, with escape sequences masked."""
    return ESCAPE.sub(lambda match: MASK * len(match[0]), text) if "\\" in text else text
