"""The file behind the board: made once, of one size, claimed region by region by the workers that live.

A region belongs to a process, named by pid and start time; what a dead one left is found and freed by whoever looks.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

LAYOUT = 0x436F646572_0001  # changes with the layout: a file of another one is replaced
WORD_BYTES = 8
REGIONS = 128  # as many as 64 workers and their successors


class BoardFile:
    """Words of 64 bits that all workers see, and a lock for what more than one of them writes."""

    def __init__(self, path: Path, num_words: int) -> None:
        self._path = path
        self._size = num_words * WORD_BYTES
        self._fd = -1
        try:
            self._fd = self._open()
            self._map = mmap.mmap(self._fd, self._size)
        except OSError as error:
            # Better a worker that counts alone than none.
            log.error("no board at %s, this worker counts alone: %s", path, error)
            self._map = mmap.mmap(-1, self._size)
        self.words = memoryview(self._map).cast("q")
        self.words[0] = LAYOUT

    def _open(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if self._is_current(descriptor) and self._fill(descriptor):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
                    return descriptor
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """Whether the path still names this file: another worker may have replaced it while we waited."""
        with_path = self._path.stat() if self._path.exists() else None
        return with_path is not None and with_path.st_ino == os.fstat(descriptor).st_ino

    def _fill(self, descriptor: int) -> bool:
        """Give a new file its size; one of another layout is unlinked, for those who have it mapped keep it."""
        size = os.fstat(descriptor).st_size
        if size == 0:
            # All of it at once: a page that the disk has no room for would kill the worker that writes to it.
            os.posix_fallocate(descriptor, 0, self._size)
            os.pwrite(descriptor, LAYOUT.to_bytes(WORD_BYTES, "little"), 0)
            return True
        if size == self._size and os.pread(descriptor, WORD_BYTES, 0) == LAYOUT.to_bytes(WORD_BYTES, "little"):
            return True
        self._path.unlink()
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among the workers; held for microseconds."""
        if self._fd < 0:
            yield
            return
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of it."""
        self.words.release()
        self._map.close()
        if self._fd >= 0:
            os.close(self._fd)


def started_ticks(pid: int) -> int | None:
    """When a living process started, in clock ticks since boot; None when there is none. A zombie is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[19]) if fields[0] not in {"Z", "X"} else None
