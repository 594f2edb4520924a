"""The rows of some files by number, without holding them: where each line begins, and the digest of each file."""

from __future__ import annotations

import hashlib
import json
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any


class Lines:
    """All lines of some files, numbered from 0. Twelve bytes a line."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.digests: list[str] = []
        self._paths, self._firsts = tuple(paths), list[int]()
        self._starts, self._sizes = array("Q"), array("I")
        for path in paths:
            self._firsts.append(len(self._starts))
            self.digests.append(self._read(path))

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def size_bytes(self) -> int:
        return sum(self._sizes)

    def bytes_of(self, number: int) -> int:
        return self._sizes[number]

    def file_of(self, number: int) -> int:
        """The place of the row's file among the paths."""
        return bisect_right(self._firsts, number) - 1

    def take(self, numbers: Iterable[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Rows by their numbers, in the order asked for; the next number is asked for once a row was looked at."""
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self._paths]
            for number in numbers:
                file = files[self.file_of(number)]
                file.seek(self._starts[number])
                yield number, json.loads(file.read(self._sizes[number]))

    def _read(self, path: Path) -> str:
        digest, start = hashlib.sha256(), 0
        with path.open("rb") as file:
            for line in file:
                digest.update(line)
                self._starts.append(start)
                self._sizes.append(len(line))
                start += len(line)
        return digest.hexdigest()
