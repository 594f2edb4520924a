"""A day's records on the disk: one file for each process that writes, appended to, every record sealed by itself.

A record is a head in the clear (mark and two lengths) and two sealed parts, so that a list needs not open the texts: what
is known of the request, and its body with the answer's. Both are bound to their place: a record that was moved, cut or
changed does not open. A record that was not written to its end is left alone by readers.
"""

from __future__ import annotations

import os
import re
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag

from inference import failpoints
from inference.conversations.errors import Damaged, Erased
from inference.conversations.vault import NONCE_BYTES, DayKey
from inference.pool.process import is_alive, read_stat

MARK = b"CRC1"
ROTATE_BYTES = 8 * 1024 * 1024
MAX_TEXT_BYTES = 80 * 1024 * 1024  # what a record opens to: far more than a writer lets in
SUFFIX = ".seg"
_HEAD = struct.Struct(">4sII")
_LENGTH = struct.Struct(">I")
_SEALED_BYTES = NONCE_BYTES + 16  # more than what is sealed
_NAME = re.compile(r"(?P<pid>\d+)-(?P<started>\d+)-\d+\.seg")


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a conversation without its texts. `at` is in Unix seconds; `cut`: the answer is not whole."""

    request_id: str
    at: float
    key_id: str
    model: str
    endpoint: str
    stream: bool
    prompt_tokens: int
    completion_tokens: int
    outcome: str
    http_status: int
    cut: bool


@dataclass(frozen=True)
class Texts:
    """A request's body as the client sent it, and the bytes of the answer as the client got them."""

    request: bytes
    answer: bytes


@dataclass(frozen=True)
class Found:
    """A record in a file; `about` is None where it does not open."""

    offset: int
    size: int
    about: About | None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(About)


class Segment:
    """A file that this process writes."""

    def __init__(self, directory: Path, key: DayKey) -> None:
        stat = read_stat(os.getpid())
        started = stat.started if stat is not None else 0
        self.key = key
        self.name = f"{os.getpid()}-{started}-{time.time_ns()}{SUFFIX}"
        self._fd = os.open(
            directory / self.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        self._size = 0
        self._is_torn = False

    @property
    def usable(self) -> bool:
        """Whether it is there still, is whole, and has room."""
        return not self._is_torn and self._size < ROTATE_BYTES and os.fstat(self._fd).st_nlink > 0

    def append(self, about: About, texts: Texts) -> None:
        """Write one record, or nothing of it.

        Raises: OSError.
        """
        packed = zlib.compress(_LENGTH.pack(len(texts.request)) + texts.request + texts.answer, 1)
        first = self._seal(b"about", _encoder.encode(about))
        second = self._seal(b"texts", packed)
        try:
            self._write(_HEAD.pack(MARK, len(first), len(second)) + first)
            failpoints.reach("conversation.half_written")
            self._write(second)
        except OSError:
            self._is_torn = True
            os.ftruncate(self._fd, self._size)  # a torn record in the middle would hide all behind it
            self._is_torn = False
            raise
        self._size += _HEAD.size + len(first) + len(second)

    def close(self) -> None:
        """Write no more."""
        os.close(self._fd)

    def _write(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        if written != len(data):
            raise OSError(f"short write: {written} of {len(data)} bytes")

    def _seal(self, part: bytes, content: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self.key.cipher.encrypt(nonce, content, _place(part, self.key, self.name, self._size))


def _place(part: bytes, key: DayKey, name: str, offset: int) -> bytes:
    return b"%b %b %b %b %d" % (part, key.tenant.encode(), str(key.day).encode(), name.encode(), offset)


def _open(part: bytes, key: DayKey, name: str, offset: int, sealed: bytes) -> bytes:
    nonce, content = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    return key.cipher.decrypt(nonce, content, _place(part, key, name, offset))


def files(directory: Path) -> list[Path]:
    """A day's files of records, the oldest first."""
    found = (path for path in directory.glob(f"*{SUFFIX}") if _NAME.fullmatch(path.name))
    return sorted(found, key=_began)


def writer_lives(name: str) -> bool:
    """Whether somebody may append to a file of this name."""
    match = _NAME.fullmatch(name)
    return match is not None and is_alive(int(match["pid"]), int(match["started"]))


def newest(paths: Iterable[Path]) -> set[Path]:
    """Of each writer the file that it began last: it appends to no other one."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(paths, key=_began):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            found[match["pid"], match["started"]] = path
    return set(found.values())


def _began(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def read(path: Path, key: DayKey, offset: int = 0, most: int = 500) -> Iterator[Found]:
    """What is known of the records from `offset` on; a torn last one is left for later. Behind bytes that are no record
    nothing can be found: they are one that does not open.

    Raises: OSError.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for _ in range(most):
            file.seek(offset)
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            mark, first, second = _HEAD.unpack(head)
            if mark != MARK or min(first, second) <= _SEALED_BYTES:
                yield Found(offset, size - offset, None)
                return
            length = _HEAD.size + first + second
            if offset + length > size:
                return
            yield Found(offset, length, _about(key, path.name, offset, file.read(first)))
            offset += length


def _about(key: DayKey, name: str, offset: int, sealed: bytes) -> About | None:
    try:
        return _decoder.decode(_open(b"about", key, name, offset, sealed))
    except (InvalidTag, msgspec.DecodeError):
        return None


def read_texts(path: Path, key: DayKey, offset: int) -> Texts:
    """The texts of one record.

    Raises: Erased where the file is gone, Damaged where it does not open.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            _, first, second = _HEAD.unpack(file.read(_HEAD.size))
            file.seek(first, os.SEEK_CUR)
            sealed = file.read(second)
        packed = _open(b"texts", key, path.name, offset, sealed)
        content = zlib.decompressobj().decompress(packed, MAX_TEXT_BYTES)
        (length,) = _LENGTH.unpack_from(content)
    except FileNotFoundError:
        raise Erased("the conversation is erased") from None
    except (struct.error, InvalidTag, zlib.error):
        raise Damaged("the record does not open") from None
    rest = content[_LENGTH.size :]
    return Texts(rest[:length], rest[length:])
