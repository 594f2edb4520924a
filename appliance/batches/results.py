"""Results of a batch on the disk: each attempt appends to a file of its own, and all of them together say what is done.

A line: number, 1 or 0 for an answer or an error, tokens, CRC-32 of all the rest, and what the output or error file gets.
What a killed process left torn is not counted. A line that two attempts answered counts once, the earlier attempt's.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from appliance.batches.answers import Result, Usage
from appliance.batches.errors import DiskFull
from appliance.training.files import FREE_BYTES

_ATTEMPT = re.compile(r"attempt-(\d+)\.results")


def batch_dir(tenant_id: str, batch_id: str) -> Path:
    """Where a batch's attempts lie until it is over."""
    return Path(settings.ENV.data_dir) / "batches" / tenant_id / batch_id


@dataclass
class Done:
    """Which lines are done, by their numbers, and the sums of them."""

    lines: set[int] = field(default_factory=set)
    num_completed: int = 0
    num_failed: int = 0
    usage: Usage = field(default_factory=Usage)

    def add(self, result: Result) -> bool:
        """Count a result; False for a line that was counted before."""
        if result.line in self.lines:
            return False
        self.lines.add(result.line)
        self.num_completed += result.ok
        self.num_failed += not result.ok
        self.usage += result.usage
        return True


def encode(result: Result) -> bytes:
    """A result as its line of an attempt file."""
    usage = result.usage
    head = f"{result.line} {int(result.ok)} {usage.input} {usage.cached} {usage.output}".encode()
    return b"%b %08x %b\n" % (head, zlib.crc32(head + result.text), result.text)


def decode(line: bytes) -> Result | None:
    """A result from its line; None for one that is torn or damaged."""
    parts = line.split(b" ", 6)
    if not line.endswith(b"\n") or len(parts) != 7:
        return None
    text = parts[6][:-1]
    try:
        number, ok, *tokens = (int(part) for part in parts[:5])
        intact = int(parts[5], 16) == zlib.crc32(b" ".join(parts[:5]) + text)
    except ValueError:
        return None
    return Result(number, bool(ok), Usage(*tokens), text) if intact else None


def read_all(folder: Path) -> Iterator[Result]:
    """Every result of every attempt, the earliest attempt first; some lines may come twice."""
    for path in _attempts(folder):
        with path.open("rb") as file:
            for line in file:
                result = decode(line)
                if result is not None:
                    yield result


def _attempts(folder: Path) -> list[Path]:
    found = [(int(match.group(1)), path) for path in folder.glob("*") if (match := _ATTEMPT.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def read_done(folder: Path) -> Done:
    """What is done."""
    done = Done()
    for result in read_all(folder):
        done.add(result)
    return done


def require_room(folder: Path, size: int) -> None:
    """Raises: DiskFull when the disk would keep too little for everybody's journals and database."""
    if shutil.disk_usage(folder).free < FREE_BYTES + size:
        raise DiskFull("the disk is nearly full")


class ResultFile:
    """One attempt's file. What `append` returned from is on the disk."""

    def __init__(self, folder: Path, fence: int) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._path = folder / f"attempt-{fence}.results"
        self._file: BinaryIO | None = None
        self._size = 0
        self._torn = False  # the file may end within a line
        self._closed = False
        self._lock = threading.Lock()  # a write may still be under way in its thread when the work was given up

    def append(self, results: Sequence[Result]) -> None:
        """Write results and have them on the disk; after a failure none of them counts, and it may be tried again.

        Raises: DiskFull, OSError.
        """
        data = b"".join(encode(result) for result in results)
        with self._lock:
            if self._closed:
                raise ValueError("this attempt is over")
            require_room(self._folder, len(data))
            self._write(self._opened(), data)

    def _write(self, file: BinaryIO, data: bytes) -> None:
        data = b"\n" + data if self._torn else data
        self._torn = True
        try:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(self._size)
            raise
        self._size += len(data)
        self._torn = False

    def close(self) -> None:
        """Nothing more is written."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = self._path.open("ab", buffering=0)  # the same attempt may have been at it before
            self._size = self._file.tell()
            self._torn = self._size > 0
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)  # the file's name survives a power loss, too
            finally:
                os.close(descriptor)
        return self._file
