"""The file that says which data directory this is. No Django: a worker looks for it before it begins to write anything."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from finetune.files import sync_directory

MARK = "storage_id"


def read_mark(data_dir: Path) -> str | None:
    """The directory's id; None where there is none, as below a mount that is missing."""
    try:
        return (data_dir / MARK).read_text(encoding="ascii", errors="replace").strip()[:64]
    except OSError:  # also a mount that went away
        return None


def make_mark(data_dir: Path) -> str:
    """Give the directory a new id."""
    made = uuid.uuid4().hex
    temporary = data_dir / f".{MARK}.{made}"
    with temporary.open("w", encoding="ascii") as file:
        file.write(f"{made}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(data_dir / MARK)
    sync_directory(data_dir)
    return made
