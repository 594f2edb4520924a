"""Whether the disk holds one more model. Standard library only."""

from __future__ import annotations

import shutil
from pathlib import Path

from finetune.merge.errors import NoRoom

SPARE_BYTES = 256 * 1024 * 1024  # what is left on the disk beside the copy


def require(folder: Path, needed_bytes: int) -> None:
    """Raises: NoRoom with the arithmetic."""
    free = shutil.disk_usage(folder).free
    if needed_bytes + SPARE_BYTES > free:
        raise NoRoom(
            f"a merged copy has {needed_bytes / 1e9:.2f} GB and {SPARE_BYTES / 1e9:.2f} GB are kept free, but {folder} "
            f"has {free / 1e9:.2f} GB left"
        )
