"""The usage journal: one checksummed line per ended request, appended by every process that spends engine tokens.

A line is in the kernel's hands when `append` returns and on the disk within `SYNC_BOUND_S`. Where the disk takes
nothing, records wait in memory and `healthy` says so, so that callers can refuse new work. Shipping lines to the
ledger and deleting shipped files is left to the meter.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from inference.metering.errors import JournalFull

log = logging.getLogger(__name__)

SYNC_BOUND_S = 0.2
ROTATE_BYTES = 16 * 1024 * 1024
MAX_WAITING = 100_000
_PREFIX_BYTES = 9  # eight hex digits of the CRC and a space


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What one ended request consumed. Times are Unix seconds; token counts are the engine's."""

    request_id: str
    tenant_id: str
    key_id: str | None
    model: str
    endpoint: str
    stream: bool
    life_id: str | None
    replica_id: str | None
    started_at: float
    finished_at: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    engine_prompt_tokens: int
    outcome: str
    http_status: int
    ttft_ms: int | None
    exact: bool


@dataclass(frozen=True)
class Corrupt:
    """A complete line whose checksum or content is wrong, reported instead of skipped."""

    offset: int
    line: bytes


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(UsageRecord)


def encode_line(record: UsageRecord) -> bytes:
    """One journal line: CRC-32 of the JSON in hex, a space, the JSON, a newline."""
    payload = _encoder.encode(record)
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def decode_line(line: bytes, offset: int) -> UsageRecord | Corrupt:
    """The record of one complete line (without its newline), or what was found in its place."""
    payload = line[_PREFIX_BYTES:]
    if line[:_PREFIX_BYTES] != b"%08x " % zlib.crc32(payload):
        return Corrupt(offset, line)
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Corrupt(offset, line)


def read_records(path: Path, offset: int = 0) -> tuple[list[UsageRecord | Corrupt], int]:
    """Records from `offset` on, and where to go on next time; a torn last line is left for later."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    end = data.rfind(b"\n") + 1
    return list(_decode_lines(data[:end], offset)), offset + end


def _decode_lines(data: bytes, offset: int) -> Iterator[UsageRecord | Corrupt]:
    for line in data.splitlines(keepends=True):
        yield decode_line(line[:-1], offset)
        offset += len(line)


class JournalWriter:
    """Appends records to `<name>-<pid>-<start ns>.jsonl`; usable from any thread, created after the fork."""

    def __init__(self, directory: Path, name: str, rotate_bytes: int = ROTATE_BYTES) -> None:
        self._directory = directory
        self._name = name
        self._rotate_bytes = rotate_bytes
        self._lock = threading.Lock()
        self._dirty = threading.Event()
        self._closing = threading.Event()
        self._waiting: deque[bytes] = deque()
        self._fd: int | None = None
        self._size = 0
        directory.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._sync_loop, name="journal-sync", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """False while records wait because the disk did not take them."""
        return not self._waiting

    def append(self, record: UsageRecord) -> bool:
        """Hand one record to the kernel; it is on the disk within `SYNC_BOUND_S`. False while it waits in memory.

        Raises: JournalFull when the disk has taken nothing for so long that memory's bound is reached.
        """
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                raise JournalFull(f"{MAX_WAITING} usage records wait for the disk")
            self._waiting.append(encode_line(record))
            self._drain()
            written = not self._waiting
        if not self._dirty.is_set():  # the thread clears it before it syncs, and this line is in the file by now
            self._dirty.set()
        return written

    def close(self) -> None:
        """Write and sync what waits, then close the file."""
        self._closing.set()
        self._dirty.set()
        self._thread.join(timeout=5)
        with self._lock:
            self._drain()
            self._close_file()

    def _drain(self) -> None:
        """Write waiting lines in order; the lock is held."""
        try:
            while self._waiting:
                self._write(self._waiting[0])
                self._waiting.popleft()
        except OSError as error:
            log.error("usage journal: %d records wait, the disk refused: %s", len(self._waiting), error)

    def _write(self, line: bytes) -> None:
        if self._fd is None or self._size >= self._rotate_bytes:
            self._open_next()
        assert self._fd is not None  # noqa: S101 - set by _open_next, for the type checker
        try:
            written = os.write(self._fd, line)
            if written != len(line):
                raise OSError(f"short write: {written} of {len(line)} bytes")
        except OSError:
            # A torn line in the middle would read as corrupt: cut back to the last whole one.
            os.ftruncate(self._fd, self._size)
            raise
        self._size += written

    def _open_next(self) -> None:
        self._close_file()
        path = self._directory / f"{self._name}-{os.getpid()}-{time.time_ns()}.jsonl"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = 0
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _close_file(self) -> None:
        if self._fd is not None:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = None

    def _sync_loop(self) -> None:
        while not self._closing.is_set():
            self._dirty.wait()
            self._dirty.clear()
            self._closing.wait(SYNC_BOUND_S / 4)  # lets a burst share one fsync, well inside the bound
            self._sync_once()

    def _sync_once(self) -> None:
        with self._lock:
            self._drain()
            waiting = bool(self._waiting)
            # A duplicate stays valid when the file is rotated meanwhile, so that fsync runs outside the lock.
            fd = os.dup(self._fd) if self._fd is not None else None
        if fd is not None:
            try:
                os.fsync(fd)
            except OSError as error:
                log.error("usage journal: fsync failed: %s", error)
            finally:
                os.close(fd)
        if waiting:
            self._closing.wait(SYNC_BOUND_S)
            self._dirty.set()
