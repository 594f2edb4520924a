"""Licence expressions as SPDX writes them (`MIT OR (Apache-2.0 AND BSD-3-Clause)`), as choices between sets of licences.

Anything that is no expression, or a long one, becomes the one licence `other`: a file's head is what anybody may have written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from finetune.data.licences.families import OTHER, family_of, is_among, known, strictness

MOST_NAMES = 6
TOKEN = re.compile(r"[()]|[A-Za-z0-9][A-Za-z0-9.+:-]*")
MOST_CHARACTERS = 300


@dataclass(frozen=True)
class Licence:
    """Choices, each a set of ids that hold together."""

    choices: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """The expression, the same for the same licence."""
        parts = [" AND ".join(names) for names in self.choices]
        return " OR ".join(f"({part})" if " " in part and len(parts) > 1 else part for part in parts)

    @property
    def family(self) -> str:
        """That of the mildest choice; a choice is as strict as the strictest of its licences."""
        return family_of(min((max(names, key=strictness) for names in self.choices), key=strictness))

    def is_unwanted(self, unwanted: frozenset[str]) -> bool:
        """Whether no choice is free of unwanted licences."""
        return all(any(is_among(name, unwanted) for name in names) for names in self.choices)


def one(name: str) -> Licence:
    return Licence(((name,),))


def any_of(licences: Iterable[Licence]) -> Licence:
    """A choice between licences."""
    return _of({names for licence in licences for names in licence.choices})


def all_of(licences: Iterable[Licence]) -> Licence:
    """All of some licences at once."""
    found, *rest = dict.fromkeys(licences) or (one(OTHER),)
    for more in rest:  # one after the other: too many choices are cut off before they multiply
        found = _of({tuple(sorted({*names, *others})) for names in found.choices for others in more.choices})
    return found


def _of(choices: Iterable[tuple[str, ...]]) -> Licence:
    found = tuple(sorted(set(choices)))
    return Licence(found) if 0 < sum(map(len, found)) <= MOST_NAMES else one(OTHER)


@lru_cache(maxsize=1024)
def parse(text: str) -> Licence:
    """The licence that an expression names."""
    tokens = TOKEN.findall(text[:MOST_CHARACTERS])
    if not 0 < len(tokens) <= 4 * MOST_NAMES:
        return one(OTHER)
    try:
        found, left = _either(tokens)
    except (IndexError, ValueError):
        return one(OTHER)
    # `*/` and the like are no tokens; words behind an expression belong to the comment, not to it.
    return found if not left or left[0] not in ("(", ")") else one(OTHER)


def _either(tokens: list[str]) -> tuple[Licence, list[str]]:
    found, tokens = _both(tokens)
    parts = [found]
    while tokens and tokens[0].upper() == "OR":
        found, tokens = _both(tokens[1:])
        parts.append(found)
    return any_of(parts), tokens


def _both(tokens: list[str]) -> tuple[Licence, list[str]]:
    found, tokens = _single(tokens)
    parts = [found]
    while tokens and tokens[0].upper() == "AND":
        found, tokens = _single(tokens[1:])
        parts.append(found)
    return all_of(parts), tokens


def _single(tokens: list[str]) -> tuple[Licence, list[str]]:
    name, tokens = tokens[0], tokens[1:]
    if name == "(":
        found, tokens = _either(tokens)
        if tokens[0] != ")":
            raise ValueError("a bracket is not closed")
        return found, tokens[1:]
    if name == ")":
        raise ValueError("a bracket is not opened")
    if tokens and tokens[0].upper() == "WITH":
        tokens = tokens[2:]
    later = name.endswith("+")
    name = name.rstrip(".:")
    return one(known(f"{name[:-1]}-or-later" if later and known(name) == OTHER else name)), tokens
