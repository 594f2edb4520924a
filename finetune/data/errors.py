"""What can go wrong with an uploaded data set: it is refused as a whole, with everything wrong in it, or has no room."""

from __future__ import annotations

from collections.abc import Iterable

MAX_FAULTS = 100


class DatasetRefused(Exception):
    """The upload can't become training rows; `faults` name the place and say what to change. Trying again won't help."""

    code = "invalid_training_file"
    permanent = True

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)[:MAX_FAULTS]
        super().__init__("; ".join(self.faults))


class NoRoom(Exception):
    """The disk would be fuller than it may be; nothing is wrong with the upload."""

    code = "disk_full"
    permanent = False
