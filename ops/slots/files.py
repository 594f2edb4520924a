"""Files that must be whole or absent, and the lock that keeps two set-ups from building the same thing at once."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from finetune.files import sha256_of, sync_directory, write_json

__all__ = ["exclusive", "sha256_of", "sync_directory", "write_json"]


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold an advisory lock on `path`; calls `on_wait` once when someone else has it, then waits.

    The file stays: removing it would let a third party lock a new one while a second still waits on the old. The kernel
    drops the lock with its holder, so a killed set-up never blocks the next.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
