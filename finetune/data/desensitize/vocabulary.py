"""The secrets of a whole data set: what was recognised in one place is taken out everywhere, telling key beside it or not."""

from __future__ import annotations

import re
import string
from collections import defaultdict
from collections.abc import Iterator

from finetune.data.desensitize.spans import Span

RUN = re.compile(r"[A-Za-z0-9]+")
PLAIN = bytes(byte if chr(byte) in string.ascii_letters + string.digits else ord(" ") for byte in range(256))
MIN_CHARACTERS = 8


class Vocabulary:
    """Values by their first run of letters and digits: a text is searched only for those whose run it contains."""

    def __init__(self) -> None:
        self._rules: dict[str, tuple[str, str]] = {}
        self._by_run: defaultdict[bytes, list[str]] = defaultdict(list)

    def add(self, value: str, rule: str, kind: str) -> None:
        """Remember a value, if it is distinct enough to be looked for without context."""
        run = RUN.search(value)
        distinct = any(map(str.isdigit, value)) and any(map(str.isalpha, value)) and len(value) >= MIN_CHARACTERS
        if value in self._rules or run is None or not distinct:
            return
        self._rules[value] = (rule, kind)
        self._by_run[run[0].encode()].append(value)

    def find(self, text: str) -> Iterator[Span]:
        """All places of known values that don't continue as a longer word."""
        if not self._by_run:
            return
        # Bytes, for their table is several times as quick as a pattern; what is not ASCII parts words like any other sign.
        runs = self._by_run.keys() & set(text.encode("ascii", "replace").translate(PLAIN).split())
        for value in sorted(value for run in runs for value in self._by_run[run]):
            rule, kind = self._rules[value]
            start = text.find(value)
            while start >= 0:
                end = start + len(value)
                if not (RUN.match(text[start - 1 : start]) or RUN.match(text[end : end + 1])):
                    yield Span(start, end, rule, kind, value)
                start = text.find(value, end)
