"""Is there room? Asked before a long download, so that the answer comes at once and not after minutes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ops.slots.errors import NotEnoughDisk

GB = 1_000_000_000


def require_space(directory: Path, needed_bytes: int, purpose: str) -> None:
    """Raises: NotEnoughDisk when the file system of `directory` (or of its nearest existing parent) is too full."""
    existing = directory
    while not existing.exists():
        existing = existing.parent
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise NotEnoughDisk(
            f"{purpose} needs {needed_bytes / GB:.1f} GB free under {directory}, but {free_bytes / GB:.1f} GB are left:"
            " make room, or set CODERACK_CACHE_DIR to a directory on a larger disk"
        )


def size_of(directory: Path) -> int:
    """Bytes that a directory tree takes; 0 for one that is not there."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total
