"""The chain's head outside the database: a file with one line for each entry, its number and its hash.

Lines are appended after the commit, so that they may come in another order than the entries, and a killed process leaves
its line out. Whoever can write both the table and this file can forge both: a copy on another machine helps.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Head:
    """One line of the file; `seq` is None where it can't be read."""

    line: int
    seq: int | None
    hash: str = ""


def append(path: Path, seq: int, entry_hash: str) -> None:
    """Add a line, on disk when this returns.

    Raises: OSError; part of a line may then be left, which readers pass over.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        line = (b"\n" if torn else b"") + json.dumps({"seq": seq, "hash": entry_hash}).encode() + b"\n"
        if os.write(file, line) != len(line):
            raise OSError(errno.ENOSPC, "only part of the line was written", str(path))
        os.fsync(file)
    finally:
        os.close(file)
    if size == 0:
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> Iterator[Head]:
    """The file's lines; one that was torn off by a crash is left out.

    Raises: OSError.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.strip()
            if text.endswith(b"}"):
                yield _parse(number, text)


def _parse(number: int, text: bytes) -> Head:
    try:
        value = json.loads(text)
        seq, entry_hash = value["seq"], value["hash"]
    except (ValueError, KeyError, TypeError):
        return Head(number, None)
    fine = type(seq) is int and isinstance(entry_hash, str)
    return Head(number, seq, entry_hash) if fine else Head(number, None)
