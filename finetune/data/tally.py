"""Counts an upload's source files by language and by licence, and objects to those under a licence that is not wanted.

For each file that stays six bytes are held, so that one which cleaning leaves out later can be counted off again. Names in the
counts come from our own tables, directories are cleaned of what may be a secret.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from finetune.data import filters
from finetune.data.desensitize.censor import censor_all
from finetune.data.languages import C_OR_CPP, language_of, settled
from finetune.data.licences.expressions import Licence, one
from finetune.data.licences.families import OTHER, is_among
from finetune.data.licences.heads import comments_of
from finetune.data.licences.phrases import licence_of
from finetune.data.licences.tree import LicenceTree
from finetune.data.rows import TextRow

NONE_FOUND = "none found"
MOST_COUNTED = 2000  # languages, licences, directories each: more are counted together
MOST_SHOWN = 100
PROSE = frozenset(("Markdown", "Text", "reStructuredText"))  # has no head of comments
VAGUE = frozenset(("BSD", "GPL", "LGPL", "AGPL"))


class _Counts:
    """Files, bytes and rows that stay of each name, numbered as they come."""

    def __init__(self, others: Hashable) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._others = others
        self._counts = [array("Q"), array("Q"), array("Q")]

    def number(self, name: Hashable) -> int:
        if name not in self._numbers and len(self._numbers) >= MOST_COUNTED:
            name = self._others
        number = self._numbers.setdefault(name, len(self._numbers))
        if number == len(self._counts[0]):
            for counts in self._counts:
                counts.append(0)
        return number

    def add(self, number: int, *more: int) -> None:
        for counts, by in zip(self._counts, more, strict=True):
            counts[number] += by

    def lose(self, number: int) -> None:
        self._counts[2][number] -= 1

    def rows(self) -> list[tuple[Any, dict[str, int]]]:
        """Largest first."""
        files, size, kept = self._counts
        told = [
            (name, {"files": files[at], "bytes": size[at], "kept": kept[at], "dropped": files[at] - kept[at]})
            for name, at in self._numbers.items()
        ]
        return sorted(told, key=lambda row: (-row[1]["bytes"], -row[1]["files"], str(row[0])))


@dataclass(frozen=True)
class _Seen:
    """What is known of the file that is being judged."""

    row: TextRow
    numbers: tuple[int, int, int]


class Tally:
    """Sees each file once, in the order of the upload: `judge`, then `count`."""

    def __init__(self, tree: LicenceTree | None = None, unwanted: tuple[str, ...] = ()) -> None:
        self._tree, self._unwanted = tree or LicenceTree(0), unwanted
        self._listed = frozenset(unwanted)
        self._languages, self._licences, self._places = _Counts(OTHER), _Counts(one(OTHER)), _Counts(None)
        self._kept = array("H")
        self._seen: _Seen | None = None

    def judge(self, row: TextRow) -> filters.Dropped | None:
        """The first filter's objection, or that its licence is unwanted."""
        language = language_of(row.path, row.text)
        licence, place = self._licence_of(row, comments_of(row.text) if language not in PROSE else "")
        numbers = (self._languages.number(language), self._licences.number(licence), self._places.number(place))
        self._seen = _Seen(row, numbers)
        if dropped := filters.judge(row):
            return dropped
        if licence is not None and self._listed and licence.is_unwanted(self._listed):
            return filters.Dropped(row, filters.LICENCE, self._objection(licence))
        return None

    def count(self, stays: bool) -> None:
        """The file that was judged last."""
        if self._seen is None:
            return
        text = self._seen.row.text
        size = len(text) if text.isascii() else len(text.encode())
        for counts, number in zip(self._all(), self._seen.numbers, strict=True):
            counts.add(number, 1, size, stays)
        if stays:
            self._kept.extend(self._seen.numbers)
        self._seen = None

    def lose(self, number: int) -> None:
        """A file that stayed, by its number among these, is left out after all. Chat rows were never counted."""
        for counts, of in zip(self._all(), self._kept[3 * number : 3 * number + 3], strict=False):
            counts.lose(of)

    def report(self) -> dict[str, Any]:
        """Counts by language and licence, and directories with other licences than the upload's own."""
        licences: list[tuple[Licence | None, dict[str, int]]] = self._licences.rows()
        own = self._tree.of_upload
        return {
            "languages": self._by_language(),
            "licences": [{"licence": _name(each), "family": _family(each)} | counts for each, counts in licences],
            "licence_of_upload": _name(own),
            "licence_files_unread": self._tree.num_unread,
            "unwanted_licences": list(self._unwanted),
            "other_licences": self._elsewhere(),
        }

    def _elsewhere(self) -> list[dict[str, Any]]:
        """Directories with another licence than the upload's own, those with the most files first."""
        found = [(place, counts) for place, counts in self._places.rows() if place is not None]
        shown = sorted(found, key=lambda row: (-row[1]["files"], row[0]))[:MOST_SHOWN]
        named = censor_all([directory for (directory, _), _ in shown])
        return [
            {"directory": name or ".", "licence": licence, "files": counts["files"], "kept": counts["kept"]}
            for name, ((_, licence), counts) in zip(named, shown, strict=True)
        ]

    def _all(self) -> tuple[_Counts, _Counts, _Counts]:
        return self._languages, self._licences, self._places

    def _licence_of(self, row: TextRow, head: str) -> tuple[Licence | None, tuple[str, str] | None]:
        """A file's licence; and where it is another than the upload's own, the directory to name and the licence."""
        directory = row.path.rpartition("/")[0]
        ruled = self._tree.ruling(directory)
        said = licence_of(head) if head else None
        if said is None or (ruled and _is_vague(said, ruled[1])):
            licence, place = (ruled[1], ruled[0]) if ruled else (None, directory)
        else:
            licence, place = said, directory
        own = self._tree.of_upload
        if licence is None or _versions(licence) == _versions(own) or (own is None and licence.family == "proprietary"):
            return licence, None
        return licence, (place, licence.name)

    def _by_language(self) -> list[dict[str, Any]]:
        told = dict(self._languages.rows())
        if unclear := told.pop(C_OR_CPP, None):
            name = settled({language: counts["files"] for language, counts in told.items()})
            before = told.get(name, {})
            told[name] = {what: count + before.get(what, 0) for what, count in unclear.items()}
        by_size = sorted(told.items(), key=lambda row: (-row[1]["bytes"], row[0]))
        return [{"language": name} | counts for name, counts in by_size]

    def _objection(self, licence: Licence) -> str:
        """Says no more than the setting does: what a file says of itself is not repeated."""
        names = {name for names in licence.choices for name in names if is_among(name, self._listed)}
        listed = [word for word in self._unwanted if any(is_among(name, frozenset((word,))) for name in names)]
        return f"its licence is not wanted: {', '.join(listed)}".replace("_", " ")


def _name(licence: Licence | None) -> str:
    return licence.name if licence else NONE_FOUND


def _family(licence: Licence | None) -> str:
    return licence.family if licence else NONE_FOUND


def _is_vague(said: Licence, ruling: Licence) -> bool:
    """Whether a head names only the kind of licence that a licence file says exactly."""
    (names, *more) = said.choices
    return not more and names[0] in VAGUE and any(n.startswith(names[0] + "-") for each in ruling.choices for n in each)


def _versions(licence: Licence | None) -> set[str]:
    """Its ids, without whether later versions hold too: a licence's text alone doesn't tell."""
    names = {name for names in licence.choices for name in names} if licence else set()
    return {name.removesuffix("-only").removesuffix("-or-later") for name in names}
