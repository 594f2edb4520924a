"""The licence files of an upload, and which of them rules a directory: the nearest at or above it.

Read before everything else, since a licence file may come after what it rules. Any encoding is good enough to find words in.
"""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterable

from finetune.data.licences.expressions import Licence, all_of, any_of
from finetune.data.licences.phrases import licence_of
from finetune.data.members import Member

FILE = re.compile(r"(?:un)?licen[cs]e|copying|copyright", re.IGNORECASE)
PROSE = re.compile(r"\.(?:txt|md|rst|html?)$", re.IGNORECASE)
SUFFIX = re.compile(r"(?:[-_.]|(?=\d))(?P<which>[a-z0-9.-]{1,30})", re.IGNORECASE)
# Texts that rule nothing by themselves: collections, and lists of what others wrote.
ABOUT = re.compile(r"\.(?:c|cc|cpp|cs|css|go|h|hpp|java|js|json|kt|php|pl|py|rb|rs|sh|svg|ts|vue|xml)$", re.IGNORECASE)
OF_OTHERS = re.compile(r"third|3rd|bundled|depend|notice|contrib", re.IGNORECASE)
COLLECTION = "LICENSES"  # where the REUSE convention keeps the texts that files name by their ids
TEXT_BYTES = 64 * 1024
ENTRY_BYTES = 200
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def which(path: str) -> str | None:
    """Empty for a plain licence file, else the part that tells it from others beside it; None for any other file."""
    directory, _, name = path.rpartition("/")
    found = FILE.match(name)
    if found is None or OF_OTHERS.search(name) or ABOUT.search(name) or directory.rpartition("/")[2] == COLLECTION:
        return None
    rest = PROSE.sub("", name[found.end() :])
    suffix = SUFFIX.fullmatch(rest)
    return suffix["which"].lower() if suffix else None if rest else ""


class LicenceTree:
    """Which licence rules where. Directories of licence files are held in memory, within a bound: `num_unread` are over it."""

    def __init__(self, most_bytes: int) -> None:
        self.num_unread = 0
        self.top = ""
        self._most_bytes, self._bytes = most_bytes, 0
        self._own: dict[str, Licence] = {}
        self._ruling: dict[str, tuple[str, Licence] | None] = {}

    @classmethod
    def of(cls, members: Iterable[Member], most_bytes: int) -> LicenceTree:
        """Read the licence files among all members of an upload."""
        tree, beside = cls(most_bytes), dict[str, list[tuple[str, Licence]]]()
        top: str | None = None
        for member in members:
            directory = member.path.rpartition("/")[0]
            top = directory if top is None else _common(top, directory)
            suffix = which(member.path)
            if suffix is not None and (licence := licence_of(text_of(member.data))):
                tree._bytes += sys.getsizeof(directory) + ENTRY_BYTES
                if tree._bytes > most_bytes:
                    tree.num_unread += 1
                else:
                    beside.setdefault(directory, []).append((suffix, licence))
        tree.top = top or ""
        tree._own = {directory: _together(found) for directory, found in beside.items()}
        return tree

    @property
    def of_upload(self) -> Licence | None:
        """What the licence file at the top of the upload says."""
        ruled = self.ruling(self.top)
        return ruled[1] if ruled else None

    def ruling(self, directory: str) -> tuple[str, Licence] | None:
        """The nearest directory at or above one that has a licence file, and its licence."""
        if not self._own:
            return None
        if directory in self._ruling:
            return self._ruling[directory]
        place, found = directory, None
        while found is None:
            if licence := self._own.get(place):
                found = (place, licence)
            elif not place:
                break
            place = place.rpartition("/")[0]
        if len(self._ruling) >= MOST_REMEMBERED:
            self._ruling.clear()
        self._ruling[directory] = found
        return found


MOST_REMEMBERED = 4096


def text_of(data: bytes) -> str:
    """The text of a licence file in whatever encoding: what can't be read becomes some other letter."""
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    return data[:TEXT_BYTES].decode(encoding, "replace")


def _together(beside: list[tuple[str, Licence]]) -> Licence:
    """Several files of one directory: LICENSE-MIT beside another is a choice, COPYING.LESSER adds to COPYING's GPL."""
    if lesser := [licence for suffix, licence in beside if suffix == "lesser"]:
        return lesser[0]
    licences = [licence for _, licence in beside]
    return any_of(licences) if any(suffix for suffix, _ in beside) else all_of(licences)


def _common(one: str, two: str) -> str:
    """The directory that both are in."""
    if one == two or not one or two.startswith(one + "/"):
        return one
    same = []
    for part, other in zip(one.split("/"), two.split("/"), strict=False):
        if part != other:
            break
        same.append(part)
    return "/".join(same)
