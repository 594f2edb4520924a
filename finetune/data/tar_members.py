"""Reads a gzipped tar as a stream, strictly: what is no plain file or directory refuses the upload.

Own code around the standard library's header parser, because `tarfile` ends silently at a damaged header and reads
extended headers of any size into memory.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from finetune.data.errors import DatasetRefused
from finetune.data.limits import DEFAULT, Limits
from finetune.data.members import Doorkeeper, Member, refuse, shown

BLOCK = 512
PIECE = 64 * 1024
SIZE_DIGITS = 20
FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)
REFUSED = {
    tarfile.SYMTYPE: "it is a symbolic link; pack without links (tar -h follows them)",
    tarfile.LNKTYPE: "it is a hard link; pack without links (tar --hard-dereference)",
    tarfile.GNUTYPE_LONGLINK: "it is a link; pack without links (tar -h follows them)",
    tarfile.CHRTYPE: "it is a character device; pack files only",
    tarfile.BLKTYPE: "it is a block device; pack files only",
    tarfile.FIFOTYPE: "it is a FIFO; pack files only",
    tarfile.GNUTYPE_SPARSE: "it is a sparse file; pack without --sparse",
}


def read(source: Path, limits: Limits = DEFAULT) -> Iterator[Member]:
    """The files of a .tar.gz, one at a time in memory.

    Raises: DatasetRefused naming the first member that may not be there.
    """
    with source.open("rb") as packed:
        stream = _Stream(packed, limits)
        try:
            yield from _members(stream, Doorkeeper(limits), limits)
        except (gzip.BadGzipFile, EOFError, zlib.error, tarfile.HeaderError) as error:
            last = shown(stream.member) if stream.member else "(none)"
            message = f"the archive is damaged after member {last}: {error}; pack it again"
            raise DatasetRefused([message]) from None


class _Stream:
    """Unpacked bytes in exact pieces, with the bomb checks. `member` is the last name, for messages."""

    def __init__(self, packed: BinaryIO, limits: Limits) -> None:
        self.member = ""
        self._packed, self._limits = packed, limits
        self._file = gzip.GzipFile(fileobj=packed)
        self._unpacked_bytes = 0

    def take(self, num_bytes: int) -> bytes:
        pieces = []
        while num_bytes > 0:
            piece = self._piece(min(num_bytes, PIECE))
            if not piece:
                raise EOFError("it ends early")
            pieces.append(piece)
            num_bytes -= len(piece)
        return b"".join(pieces)

    def skip(self, num_bytes: int) -> None:
        while num_bytes > 0:
            num_bytes -= len(self.take(min(num_bytes, PIECE)))

    def expect_only_zeros(self) -> None:
        while piece := self._piece(PIECE):
            if piece.strip(b"\0"):
                raise tarfile.HeaderError("there is data after its end")

    def _piece(self, num_bytes: int) -> bytes:
        piece = self._file.read(num_bytes)
        self._unpacked_bytes += len(piece)
        # Headers and padding count too, so this is above the sum of the sizes.
        if self._unpacked_bytes > self._limits.unpacked_bytes + self._limits.members * 2 * BLOCK:
            raise refuse(self.member, f"the archive unpacks to more than {self._limits.unpacked_bytes} bytes; split it")
        floor = self._unpacked_bytes > self._limits.ratio_floor_bytes
        if floor and self._unpacked_bytes > self._limits.ratio * max(1, self._packed.tell()):
            raise refuse(self.member, f"the archive unpacks to more than {self._limits.ratio} times its size")
        return piece


def _members(stream: _Stream, door: Doorkeeper, limits: Limits) -> Iterator[Member]:
    extended: dict[str, str] = {}
    while (block := stream.take(BLOCK)).strip(b"\0"):
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        stream.member = stream.member if header.type in EXTENSIONS else header.name
        if header.type in EXTENSIONS:
            extended |= _extension(stream, header, limits)
            continue
        name, size_bytes = extended.get("path", header.name), _size(header, extended)
        extended = {}
        if header.type in REFUSED:
            raise refuse(name, REFUSED[header.type])
        if header.type not in (*FILES, tarfile.DIRTYPE):
            raise refuse(name, "it is of an unknown type; pack files only")
        if header.isdir():
            door.admit(name, 0)  # a directory has no content, whatever size it claims
        else:
            yield _content(stream, door.admit(name, size_bytes), size_bytes, limits)
    stream.expect_only_zeros()


def _content(stream: _Stream, path: str, size_bytes: int, limits: Limits) -> Member:
    padded = -(-size_bytes // BLOCK) * BLOCK
    if size_bytes > limits.member_bytes:
        stream.skip(padded)
        return Member(path, b"", "too_large")
    return Member(path, stream.take(padded)[:size_bytes])


def _size(header: tarfile.TarInfo, extended: dict[str, str]) -> int:
    size = extended.get("size", str(header.size))
    # int() refuses thousands of digits with an error of its own.
    if not (size.isascii() and size.isdigit() and len(size) <= SIZE_DIGITS):
        raise refuse(header.name, f"its size is no number of at most {SIZE_DIGITS} digits; pack it again")
    return int(size)


def _extension(stream: _Stream, header: tarfile.TarInfo, limits: Limits) -> dict[str, str]:
    """What an extended header says of the next member; a global one (git writes one) may say nothing that matters."""
    if not 0 <= header.size <= limits.header_bytes:
        raise refuse(header.name, f"its extended header is larger than {limits.header_bytes} bytes")
    data = stream.take(-(-header.size // BLOCK) * BLOCK)[: header.size]
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    records = dict(_pax_records(data))
    odd = [key for key in records if key.startswith("GNU.sparse.") or key in ("linkpath", "hdrcharset")]
    if header.type == tarfile.XGLTYPE:
        odd += [key for key in ("path", "size") if key in records]
    if odd:
        raise refuse(records.get("path", header.name), "it is sparse, a link or has unusual headers; pack plain files")
    return {key: records[key] for key in ("path", "size") if key in records}


def _pax_records(data: bytes) -> Iterator[tuple[str, str]]:
    """`length key=value newline`, over and over; the length counts itself."""
    while data:
        length, _, rest = data.partition(b" ")
        end = int(length) if length.isdigit() and len(length) < 8 else 0
        key, equals, value = rest[: end - len(length) - 1].partition(b"=")
        if not equals or not value.endswith(b"\n") or not 0 < end <= len(data):
            raise tarfile.HeaderError("an extended header is malformed")
        yield key.decode("utf-8", "surrogateescape"), value[:-1].decode("utf-8", "surrogateescape")
        data = data[end:]
