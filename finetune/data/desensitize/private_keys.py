"""Private key blocks, found step by step: first line, then headers and base64, then the last line, which may be cut off.

No pattern here spans more than one line of a key, so hostile text costs no more time than any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest

from finetune.data.desensitize.spans import Span

NAME = r"(?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
FIRST_LINE = re.compile("-----BEGIN " + NAME)
LAST_LINE = re.compile("-----END " + NAME)
# Line ends as they are, or as written in a string literal.
LINE_END = re.compile(r"\n|\\+[nr]")
# Whatever wraps a line: quotes, escapes, comment marks.
WRAPPING = r"(?:\\+[nrt]?|[\s\"'`+,#*>|.:;()-])"
HEADER = r"(?:Proc-Type|DEK-Info|Version|Comment|Hash)\b"
HEADER_LINE = re.compile(WRAPPING + r"{0,80}+" + HEADER + r".{0,200}", re.DOTALL)
KEY_LINE = re.compile(r"[A-Za-z0-9+/=\\\s\"'`,#*>|.:;()-]*+")
# One step through a key without a last line: long base64, a header, or whatever the text ends with.
STEP = re.compile(
    WRAPPING + r"{0,200}+(?:" + HEADER + r"[^\n\\]{0,200}+|[A-Za-z0-9+/=]{32,5000}+|[A-Za-z0-9+/=]{1,31}+\Z)"
)
KEY_RUN = re.compile(r"[A-Za-z0-9+/=]{24,}")
MIN_KEY_CHARACTERS = 60
MAX_KEY_CHARACTERS = 1024 * 1024


def find(text: str) -> Iterator[Span]:
    """All private keys."""
    if "PRIVATE KEY" not in text:
        return
    firsts = list(FIRST_LINE.finditer(text))
    # A key ends before the next begins: without that bound, marks without keys take quadratic time.
    for first, following in zip_longest(firsts, firsts[1:]):
        stop = following.start() if following else len(text)
        end = _end(text, first.end(), min(stop, first.end() + MAX_KEY_CHARACTERS))
        # Code that handles keys names both marks too, but has no long base64 between them.
        if sum(map(len, KEY_RUN.findall(text, first.end(), end))) >= MIN_KEY_CHARACTERS:
            yield Span(first.start(), end, "private_key", "PRIVATE_KEY", text[first.start() : end])


def _end(text: str, start: int, stop: int) -> int:
    last = LAST_LINE.search(text, start, stop)
    if last and all(map(_belongs, LINE_END.split(text[start : last.start()]))):
        return last.end()
    while step := STEP.match(text, start, stop):
        start = step.end()
    return start


def _belongs(line: str) -> bool:
    return bool(KEY_LINE.fullmatch(line) or HEADER_LINE.fullmatch(line))
