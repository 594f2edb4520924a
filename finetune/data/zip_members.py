"""Reads a zip in memory, member by member: links, devices, encryption, overlaps and bombs refuse the upload."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from finetune.data import zip_directory
from finetune.data.errors import DatasetRefused
from finetune.data.limits import DEFAULT, Limits
from finetune.data.members import Doorkeeper, Member, refuse, shown

ENCRYPTED = 0x1 | 0x40
UTF8_NAME = 0x800
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
LOCAL_HEADER_BYTES = 30
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OverflowError, UnicodeError, struct.error)


def read(source: Path, limits: Limits = DEFAULT) -> Iterator[Member]:
    """The files of a zip, one at a time in memory, after the whole directory has been checked.

    Raises: DatasetRefused naming the first member that may not be there.
    """
    zip_directory.check(source, limits)
    path = ""
    try:
        with zipfile.ZipFile(source) as archive:
            for path, info in check(archive, limits):
                yield _content(archive, path, info, limits)
    except DAMAGE as error:
        # Their own words can repeat a member's name, and that can hold a secret.
        place = f"at member {shown(path)}" if path else "in its directory"
        raise DatasetRefused([f"the archive is damaged {place} ({type(error).__name__}); pack it again"]) from None


def check(archive: zipfile.ZipFile, limits: Limits) -> list[tuple[str, zipfile.ZipInfo]]:
    """The regular files with their paths.

    Raises: DatasetRefused for the first member at fault.
    """
    door = Doorkeeper(limits)
    files = []
    for info in archive.infolist():
        name = _name(info)
        _refuse_odd(name, info, limits)
        path = door.admit(name, info.file_size)
        if not info.is_dir():
            files.append((path, info))
    _refuse_overlaps(archive)
    packed = sum(info.compress_size for info in archive.infolist())
    if door.unpacked_bytes > max(limits.ratio_floor_bytes, limits.ratio * packed):
        largest = max(archive.infolist(), key=lambda info: info.file_size)
        raise refuse(_name(largest), f"the archive unpacks to more than {limits.ratio} times its size")
    return files


def _name(info: zipfile.ZipInfo) -> str:
    """The name as stored: zipfile cuts at a NUL and reads unmarked names as code page 437."""
    name = info.orig_filename
    if info.flag_bits & UTF8_NAME or name.isascii():
        return name
    return name.encode("cp437").decode("utf-8", "surrogateescape")


def _refuse_odd(name: str, info: zipfile.ZipInfo, limits: Limits) -> None:
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if stat.S_ISLNK(mode):
        raise refuse(name, "it is a symbolic link; pack without links")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refuse(name, "it is a device, FIFO or socket; pack files only")
    if info.flag_bits & ENCRYPTED:
        raise refuse(name, "it is encrypted; pack without a password")
    if info.compress_type not in METHODS:
        raise refuse(name, "its compression method isn't supported; use deflate")
    bomb = info.file_size > max(limits.ratio_floor_bytes, limits.ratio * info.compress_size)
    if bomb:
        raise refuse(name, f"it unpacks to more than {limits.ratio} times its size")


def _refuse_overlaps(archive: zipfile.ZipFile) -> None:
    """Members that share bytes are how a small zip holds petabytes."""
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise refuse(_name(info), "it overlaps another member; pack it again")
        end = info.header_offset + LOCAL_HEADER_BYTES + info.compress_size


def _content(archive: zipfile.ZipFile, path: str, info: zipfile.ZipInfo, limits: Limits) -> Member:
    if info.file_size > limits.member_bytes:
        return Member(path, b"", "too_large")
    with archive.open(info) as file:
        data = file.read(limits.member_bytes + 1)
    if len(data) != info.file_size:
        raise refuse(path, "its size differs from the directory's; pack it again")
    return Member(path, data)
