"""How much a backup needs and whether the disk has it, asked before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from ops.backup.contents import KEPT
from ops.backup.copying import plain_files
from ops.backup.errors import NotEnoughSpace

GIB = 2**30
SPARE_BYTES = 64 * 2**20  # directories, the manifest, what comes in meanwhile
CLUSTER_BYTES = 128 * 2**20  # an empty cluster and its write-ahead log
DATABASE_GROWTH = 3  # a dump is compressed and holds no indexes


def size_of(path: Path) -> int:
    """The bytes of a file or of what a backup takes of a directory; an absent one has none."""
    total = 0
    for file in plain_files(path, []):
        try:
            total += file.lstat().st_size
        except FileNotFoundError:
            continue  # removed at this moment
    return total


def size_of_kept(data_dir: Path) -> int:
    """The bytes that a data directory brings into a backup."""
    return sum(size_of(data_dir / name) for name in KEPT)


def require_space(directory: Path, needed_bytes: int, purpose: str) -> None:
    """Raises: NotEnoughSpace when the disk of a directory, or of its nearest existing parent, is too full."""
    existing = directory
    while not existing.exists():
        existing = existing.parent
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes + SPARE_BYTES:
        raise NotEnoughSpace(
            f"{purpose} needs {(needed_bytes + SPARE_BYTES) / GIB:.2f} GiB in {directory}, and {free_bytes / GIB:.2f} GiB are "
            "free: make room or choose another disk"
        )
