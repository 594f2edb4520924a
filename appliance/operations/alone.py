"""One process at a time applies an upgrade: it holds a lock file, which the kernel drops with it, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from appliance.operations.errors import UpgradeBusy

TRIES, RETRY_S = 10, 0.05


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock, with this process's id in it.

    Raises: UpgradeBusy naming the process that has it.
    """
    with path.open("a+", encoding="utf-8") as file:
        if not _taken(file):
            raise UpgradeBusy(f"another upgrade is being applied by pid {_content(path)}: wait for it")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _taken(file: TextIO) -> bool:
    """Whether the lock is ours. `holder` has it too, for a moment: that is no reason to give up."""
    for _ in range(TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(RETRY_S)
        else:
            return True
    return False


def holder(path: Path) -> str:
    """The id of the process that applies an upgrade now; empty when none does."""
    try:
        with path.open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return ""
    except BlockingIOError:
        return _content(path)
    return ""


def _content(path: Path) -> str:
    return path.read_text(encoding="utf-8") or "unknown"
