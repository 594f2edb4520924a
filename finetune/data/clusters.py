"""Which rows belong together because they are near-duplicates, and the file that says so beside rows.jsonl.

A cluster is all rows that are joined by likenesses, directly or over others. Cleaning can make rows alike that were not: those
in which something was replaced are compared once more, without the numbers of their placeholders.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from finetune.data.desensitize.placeholders import PREFIX
from finetune.data.duplicates import NearDuplicates
from finetune.data.files import whole
from finetune.data.rows import Row, TextRow

NUMBERED = re.compile(rf"({PREFIX}[A-Z_]+)_\d+")


@dataclass(frozen=True)
class Mark:
    """What stands beside a row: the digest of what it teaches, and the number (from 1) of its cluster's first row."""

    key: int
    cluster: int


class Clusters:
    """Sets of rows, numbered from 0 in the order in which they came. Four bytes a row."""

    def __init__(self) -> None:
        self._parents = array("I")

    def __len__(self) -> int:
        return len(self._parents)

    def add(self) -> int:
        """A row that is alone so far; its number."""
        self._parents.append(len(self._parents))
        return len(self._parents) - 1

    def join(self, one: int, two: int) -> None:
        first, second = sorted((self.first_of(one), self.first_of(two)))
        self._parents[second] = first

    def first_of(self, row: int) -> int:
        """The first row of the row's cluster: the same number for all rows of one."""
        while self._parents[row] != row:
            self._parents[row] = self._parents[self._parents[row]]
            row = self._parents[row]
        return row


class CleanedRows:
    """The rows as they are written: what each teaches, and which became alike by cleaning."""

    def __init__(self, clusters: Clusters) -> None:
        self.numbers, self.keys = array("I"), array("Q")
        self._clusters, self._replaced = clusters, array("I")
        self._near = NearDuplicates()

    def __len__(self) -> int:
        return len(self.numbers)

    def see(self, number: int, row: Row) -> None:
        """A cleaned row that is written, by its number in the clusters."""
        if any(PREFIX in text for text in row.texts()):
            row = row.with_texts([NUMBERED.sub(r"\1", text) for text in row.texts()])
            for other in self._near.alike(row):
                self._clusters.join(number, self._replaced[other])
            self._replaced.append(number)
        self.numbers.append(number)
        self.keys.append(key_of(row))

    def move(self, order: Iterable[int]) -> array[int]:
        """Put the rows in another order, given by their numbers; the new place, from 1, of each."""
        before = array("I", bytes(4 * len(self._clusters)))
        for place, number in enumerate(self.numbers, 1):
            before[number] = place
        moved = array("I", (before[number] - 1 for number in order if before[number]))
        self.numbers = array("I", (self.numbers[place] for place in moved))
        self.keys = array("Q", (self.keys[place] for place in moved))
        places = array("I", bytes(4 * len(moved)))
        for after, place in enumerate(moved, 1):
            places[place] = after
        return places

    def marks(self) -> Iterator[Mark]:
        """The marks of the rows in the order of rows.jsonl."""
        for one, two in _equal(self.keys):
            self._clusters.join(self.numbers[one], self.numbers[two])
        first = array("I", bytes(4 * len(self._clusters)))
        for place, (number, key) in enumerate(zip(self.numbers, self.keys, strict=True), 1):
            of = self._clusters.first_of(number)
            first[of] = first[of] or place
            yield Mark(key, first[of])


def key_of(row: Row) -> int:
    """64 bits of the digest of what a row teaches, whatever path it has."""
    said = row.text if isinstance(row, TextRow) else json.dumps(row.messages)
    return int.from_bytes(hashlib.blake2b(said.encode(), digest_size=8).digest())


def _equal(keys: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Places of equal keys, two by two."""
    found: npt.NDArray[np.uint64] = np.fromiter(keys, dtype=np.uint64, count=len(keys))
    order = np.argsort(found, kind="stable")
    for place in np.flatnonzero(found[order][1:] == found[order][:-1]):
        yield int(order[place]), int(order[place + 1])


def write(path: Path, found: Iterator[Mark]) -> dict[str, int]:
    """Write one line for each row, key and cluster; counts rows, clusters, rows alone, and rows of the largest one."""
    sizes = array("I")  # of the cluster that begins with each row
    with whole(path) as file:
        for mark in found:
            file.write(f"{mark.key:016x} {mark.cluster}\n")
            sizes.append(0)
            sizes[mark.cluster - 1] += 1
    num_clusters, alone = len(sizes) - sizes.count(0), sizes.count(1)
    return {"rows": len(sizes), "clusters": num_clusters, "alone": alone, "largest": max(sizes, default=0)}


def read(path: Path) -> Iterator[Mark]:
    """The marks of all rows, in their order."""
    with path.open(encoding="ascii") as file:
        for line in file:
            key, cluster = line.split()
            yield Mark(int(key, 16), int(cluster))
