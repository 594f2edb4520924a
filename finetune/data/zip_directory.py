"""How many members a zip's directory holds, read here first: `zipfile` builds an object for each before anybody can count.

The places are found exactly as `zipfile` finds them, so that both speak of the same directory.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from finetune.data.errors import DatasetRefused
from finetune.data.limits import Limits

END = struct.Struct("<4s4H2LH")
END_MARK = b"PK\x05\x06"
LOCATOR = struct.Struct("<4sLQL")
LOCATOR_MARK = b"PK\x06\x07"
END64 = struct.Struct("<4sQ2H2L4Q")
END64_MARK = b"PK\x06\x06"
ENTRY_BYTES, ENTRY_MARK = 46, b"PK\x01\x02"
MAX_COMMENT = 1 << 16
# Name, extra field and comment of an ordinary member.
NAME_BYTES = 300


@dataclass(frozen=True)
class _Directory:
    start: int
    size_bytes: int
    entries: int


def check(source: Path, limits: Limits) -> None:
    """Refuse a directory of more members or bytes than allowed, in bounded memory.

    Raises: DatasetRefused.
    """
    with source.open("rb") as file:
        directory = _find(file)
        if directory is None or directory.start < 0:
            raise DatasetRefused(["the archive is damaged: it has no readable directory; pack it again"])
        if directory.entries > limits.members or directory.size_bytes > limits.members * (ENTRY_BYTES + NAME_BYTES):
            raise _too_many(limits)
        file.seek(directory.start)
        # The number it claims is only a claim.
        if _count(file.read(directory.size_bytes), limits.members) > limits.members:
            raise _too_many(limits)


def _too_many(limits: Limits) -> DatasetRefused:
    return DatasetRefused([f"the archive has more than {limits.members} members, or overlong names; split it"])


def _find(file: BinaryIO) -> _Directory | None:
    file_bytes = file.seek(0, os.SEEK_END)
    tail_start = max(0, file_bytes - MAX_COMMENT - END.size)
    file.seek(tail_start)
    tail = file.read()
    last = tail[-END.size :]
    if last.startswith(END_MARK) and last.endswith(b"\0\0") and len(last) == END.size:
        place = len(tail) - END.size
    else:
        place = tail.rfind(END_MARK)
    if place < 0 or len(tail) - place < END.size:
        return None
    *_, entries, size_bytes, _, _ = END.unpack_from(tail, place)
    end = tail_start + place
    return _find64(file, end) or _Directory(end - size_bytes, size_bytes, entries)


def _find64(file: BinaryIO, end: int) -> _Directory | None:
    start = end - LOCATOR.size - END64.size
    if start < 0:
        return None
    file.seek(start)
    record, locator = file.read(END64.size), file.read(LOCATOR.size)
    if not (locator.startswith(LOCATOR_MARK) and record.startswith(END64_MARK)):
        return None
    *_, entries, size_bytes, _ = END64.unpack(record)
    return _Directory(start - size_bytes, size_bytes, entries)


def _count(directory: bytes, most: int) -> int:
    """How many entries there are; stops one above `most`, or where it isn't a directory any more."""
    found = place = 0
    while found <= most and directory.startswith(ENTRY_MARK, place) and place + ENTRY_BYTES <= len(directory):
        place += ENTRY_BYTES + sum(struct.unpack_from("<3H", directory, place + 28))
        found += 1
    return found
