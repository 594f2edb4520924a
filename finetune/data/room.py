"""Keeps preparation from filling the disk, which the journals and the database need as well."""

from __future__ import annotations

import shutil
from pathlib import Path

from finetune.data.errors import NoRoom

LOOK_EVERY_BYTES = 16 * 1024 * 1024


class Room:
    """Looks at a folder's disk before something large is written, and now and then while rows are."""

    def __init__(self, folder: Path, free_bytes: int) -> None:
        self._folder, self._free_bytes = folder, free_bytes
        self._unseen = 0

    def need(self, num_bytes: int) -> None:
        """Raises: NoRoom where so many more bytes would leave less free than has to be."""
        self._unseen = 0
        if shutil.disk_usage(self._folder).free < self._free_bytes + num_bytes:
            raise NoRoom(f"{self._folder}: less than {self._free_bytes + num_bytes} bytes are free")

    def took(self, num_bytes: int) -> None:
        """Count what was written.

        Raises: NoRoom.
        """
        self._unseen += num_bytes
        if self._unseen >= LOOK_EVERY_BYTES:
            self.need(0)
