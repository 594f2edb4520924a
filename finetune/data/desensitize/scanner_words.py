"""The words that Betterleaks' rules wait for. A rule is tried on a text only where one of its words is in it.

They are read from the configuration that the installed library carries, so that they can't differ from what it does. Where
that isn't found, there are no words, and whoever asks has to let the scanner read everything.
"""

from __future__ import annotations

import mmap
import re
from bisect import bisect_left
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pybetterleaks

TITLE = b'title = "betterleaks config"'
MOST_BYTES = 4 * 1024 * 1024
KEYWORDS = re.compile(r"^keywords = \[(.*?)\]", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)+)"')
# Far fewer than any version has had: then the configuration was not read right.
FEWEST_RULES = 100
LEAST_WORD = 3
PATH_ONLY = frozenset(("pkcs12-file",))  # looks at a file's name only
IDENTIFIER = re.compile(r'^id = "([^"\n]+)"', re.MULTILINE)


class RuleWords:
    """Looks for the words of all rules in a text in small letters."""

    def __init__(self, found: frozenset[str]) -> None:
        self.pattern = re.compile(_alternatives(found))
        self._beginnings = np.zeros(1 << 15, dtype=np.bool_)
        for word in found:
            self._beginnings[_beginning(np.frombuffer(word.encode("latin-1", "replace"), np.uint8))[0]] = True

    def places(self, lowered: str) -> list[int]:
        """Where the first three letters are those of a word, or nearly, in order."""
        data = np.frombuffer(lowered.encode("latin-1", "replace"), np.uint8)
        return np.flatnonzero(self._beginnings[_beginning(data)]).tolist() if len(data) >= LEAST_WORD else []

    def is_within(self, places: list[int], lowered: str, start: int, end: int) -> bool:
        """Whether a whole word stands between two places."""
        for number in range(bisect_left(places, start), len(places)):
            if places[number] >= end:
                return False
            if self.pattern.match(lowered, places[number], end):
                return True
        return False

    def among(self, parts: Iterable[str]) -> frozenset[str]:
        """Words that stand in some texts. Of one that begins like a shorter one only the shorter is named."""
        return frozenset(word for part in parts for word in self.pattern.findall(part.lower()))


def _beginning(letters: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """Of each three letters in a row the last five bits, as one number."""
    bits = (letters & 31).astype(np.uint16)
    return np.asarray(bits[:-2] | (bits[1:-1] << 5) | (bits[2:] << 10), dtype=np.uint16)


@cache
def words_of_rules() -> RuleWords | None:
    """The words of all rules; None when they are not known, or when one is too short to be looked for."""
    found = words(_configuration())
    return RuleWords(found) if found and min(map(len, found)) >= LEAST_WORD else None


def words(configuration: str) -> frozenset[str]:
    """All rules' words in lower case; none at all where a rule is without."""
    rules = configuration.split("[[rules]]")[1:]
    found: set[str] = set()
    for rule in rules:
        listed, name = KEYWORDS.search(rule), IDENTIFIER.search(rule)
        if listed:
            found |= {word.lower() for word in QUOTED.findall(listed[1])}
        elif name is None or name[1] not in PATH_ONLY:
            return frozenset()
    return frozenset(found) if len(rules) >= FEWEST_RULES else frozenset()


def _configuration() -> str:
    """The configuration as it stands in the library's file; empty where it doesn't."""
    for library in sorted((Path(pybetterleaks.__file__).parent / "native").glob("*.so")):
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = content.find(TITLE)
            if start >= 0:
                return _until_no_text(content[start : start + MOST_BYTES])
    return ""


def _until_no_text(content: bytes) -> str:
    return content.partition(b"\x00")[0].decode("utf-8", "replace")


def _alternatives(found: frozenset[str]) -> str:
    """One pattern that branches by the next letter: many times quicker than the words one after the other."""
    tree: dict[str, Any] = {}
    for word in found:
        node = tree
        for letter in word:
            node = node.setdefault(letter, {})
        node[""] = {}
    return _branches(tree)


def _branches(node: dict[str, Any]) -> str:
    if "" in node:  # a shorter word ends here: what follows doesn't matter
        return ""
    parts = [re.escape(letter) + _branches(rest) for letter, rest in sorted(node.items())]
    return parts[0] if len(parts) == 1 else "(?:" + "|".join(parts) + ")"
