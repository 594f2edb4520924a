"""JSON lines on what was the standard output. Everything else that prints goes to the log instead.

A run's lines are kept in its directory too: what a reader that was killed had not taken in is read there. Standard library
only: both sides use it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE_NAME = "events.jsonl"


class EventWriter:
    """One JSON object a line, at once. Open it before libraries are loaded."""

    def __init__(self) -> None:
        # a library that prints must not end up between the lines
        self._descriptor = os.dup(1)
        self._kept: int | None = None
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def keep(self, folder: Path) -> None:
        """From now on, write every line to the folder's events.jsonl as well, and there first."""
        self._kept = os.open(folder / FILE_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if os.fstat(self._kept).st_size:
            append(self._kept, b"\n")  # what is there may end within a line

    def write(self, **content: Any) -> None:
        line = json.dumps(content, ensure_ascii=False).encode() + b"\n"
        if self._kept is not None:
            try:
                append(self._kept, line)
            except OSError as error:  # a full disk: a run that goes on is worth more than its story
                sys.stderr.write(f"events are kept no longer: {error}\n")
                self._kept = None
        with contextlib.suppress(BrokenPipeError):  # nobody listens any more; what counts lies on the disk
            append(self._descriptor, line)


def append(descriptor: int, data: bytes) -> None:
    """Write all of it. Raises: OSError."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def event_of(line: bytes | str) -> dict[str, Any] | None:
    """What a line tells; None for one that a SIGKILL cut short, or that is a library's own."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def kept(folder: Path) -> Iterator[dict[str, Any]]:
    """What a run in this folder has told so far; nothing where it kept nothing."""
    try:
        lines = (folder / FILE_NAME).open("rb")
    except FileNotFoundError:
        return
    with lines:
        for line in lines:
            event = event_of(line)
            if event is not None:
                yield event
