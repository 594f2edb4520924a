"""Cleaned lines on the disk until all are there, to be taken in another order than they came in."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

BUFFER_BYTES = 1024 * 1024


class Shelf(AbstractContextManager["Shelf"]):
    """Lines in one file, by number. Twelve bytes a line stay in memory. The file is gone when the block ends."""

    def __init__(self, path: Path, num_lines: int) -> None:
        self._path = path
        self._file = path.open("w+b", buffering=BUFFER_BYTES)
        self._starts, self._lengths = array("Q", bytes(8 * num_lines)), array("I", bytes(4 * num_lines))
        self.size_bytes = 0

    def put(self, number: int, line: str) -> None:
        """Keep a line, which is never empty, under a number that is put once."""
        data = line.encode()
        self._starts[number], self._lengths[number] = self.size_bytes, len(data)
        self.size_bytes += self._file.write(data)

    def take(self, order: Iterable[int]) -> Iterator[str]:
        """The lines by their numbers; a number without a line is passed over."""
        self._file.flush()
        for number in order:
            if self._lengths[number]:
                self._file.seek(self._starts[number])
                yield self._file.read(self._lengths[number]).decode()

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink()
