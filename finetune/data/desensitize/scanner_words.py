"""The words that Betterleaks' rules wait for. A rule is tried on a text only where one of its words is in it.

They are read from the configuration that the installed library carries, so that they can't differ from what it does. Where
that isn't found, there are no words, and whoever asks has to let the scanner read everything.
"""

from __future__ import annotations

import mmap
import re
from functools import cache
from pathlib import Path
from typing import Any

import pybetterleaks

TITLE = b'title = "betterleaks config"'
MOST_BYTES = 4 * 1024 * 1024
KEYWORDS = re.compile(r"^keywords = \[(.*?)\]", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)+)"')
# Far fewer than any version has had: then the configuration was not read right.
FEWEST_RULES = 100
PATH_ONLY = frozenset(("pkcs12-file",))  # looks at a file's name only
IDENTIFIER = re.compile(r'^id = "([^"\n]+)"', re.MULTILINE)


@cache
def pattern() -> re.Pattern[str] | None:
    """Finds the words of all rules in a text in lower case; None when they are not known."""
    found = words(_configuration())
    return re.compile(_alternatives(found)) if found else None


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
