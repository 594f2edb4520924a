"""A directory as one archive, so that a corpus is read by the same strict reader whatever it came as.

Links, devices and the folders of version control are left out: the reader would refuse the first, nobody learns from the last.
"""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from finetune.data.errors import DatasetRefused
from finetune.data.limits import Limits
from finetune.data.room import Room

NO_SOURCES = frozenset({".git", ".hg", ".svn"})


def pack(folder: Path, target: Path, limits: Limits) -> None:
    """Write the folder's plain files to a .tar.gz, by path: the same files give the same bytes.

    Files that the reader would leave out for their size are not packed.
    Raises: DatasetRefused; NoRoom.
    """
    room, unpacked_bytes = Room(target.parent, limits.free_bytes), 0
    with (
        target.open("wb") as packed,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=packed, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in _files(folder):
            unpacked_bytes += _add(archive, path, str(path.relative_to(folder)), limits, room)
            if unpacked_bytes > limits.unpacked_bytes:
                raise DatasetRefused([f"{folder} holds more than {limits.unpacked_bytes} bytes; register it in parts"])


def _files(folder: Path) -> Iterator[Path]:
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in NO_SOURCES)
        yield from (Path(top) / name for name in sorted(names))


def _add(archive: tarfile.TarFile, path: Path, name: str, limits: Limits, room: Room) -> int:
    """Add one file, if it is one; its bytes. Opened without waiting: a FIFO may have come to lie there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if path.is_symlink() or not path.is_file():
            return 0
        raise DatasetRefused([f"{path} can't be read: {error.strerror}"]) from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > limits.member_bytes:
            return 0
        member = tarfile.TarInfo(name)
        member.size = found.st_size
        try:
            archive.addfile(member, file)
        except OSError as error:
            raise DatasetRefused([f"{path} was changed while it was read, or the disk is full: {error}"]) from None
    room.took(member.size)
    return member.size
