"""Copies that are whole when they are there: streamed, hashed on the way, synced. Never links: a bundle shares no blocks."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from finetune.files import READ_BYTES, sync_directory
from ops.bundle.errors import NotEnoughSpace

GB = 1_000_000_000
SPARE_BYTES = 64 * 1024 * 1024  # directories, metadata and the file system's own needs


def copy_file(source: Path, target: Path) -> str:
    """Copy one plain file, readable by everybody, and return the SHA-256 of what was written.

    Raises: OSError, also where the source is a link or the target exists.
    """
    digest = hashlib.sha256()
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with open(descriptor, "rb", buffering=0) as read, target.open("xb", buffering=0) as written:
        while piece := read.read(READ_BYTES):
            digest.update(piece)
            _write_all(written.fileno(), piece)
        os.fchmod(written.fileno(), 0o644)  # engines may run as another user
        os.fsync(written.fileno())
    return digest.hexdigest()


def write_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a new file and sync it.

    Raises: OSError, also where it exists.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        _write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(fresh: Path, final: Path) -> None:
    """Sync every directory of a finished tree and give it its final name."""
    for parent, _, _ in os.walk(fresh, topdown=False):
        sync_directory(Path(parent))
    fresh.rename(final)
    sync_directory(final.parent)


def require_space(directory: Path, needed_bytes: int, purpose: str) -> None:
    """Raises: NotEnoughSpace when the file system of `directory` is too full."""
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < needed_bytes + SPARE_BYTES:
        raise NotEnoughSpace(
            f"{purpose} needs {(needed_bytes + SPARE_BYTES) / GB:.1f} GB under {directory}, but {free_bytes / GB:.1f} GB are "
            "free: make room or choose another disk"
        )


def _write_all(descriptor: int, content: bytes) -> None:
    # A plain write may take less than it was given.
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
