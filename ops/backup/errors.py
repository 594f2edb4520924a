"""What can go wrong while a backup is made or restored. Each message says what to do about it."""

from __future__ import annotations

from collections.abc import Sequence


class BackupError(Exception):
    """A backup can't be made or restored. `permanent` says that trying again unchanged is pointless."""

    code = "backup_error"
    permanent = True


class BadTarget(BackupError):
    """The place that a backup or a restored appliance should go to is taken, or can't be written."""

    code = "bad_backup_target"


class NotEnoughSpace(BackupError):
    """The disk that a backup or a restored appliance goes to is too full."""

    code = "not_enough_space"


class NotWhole(BackupError):
    """A backup is not what was written: one line per fault."""

    code = "backup_not_whole"

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class DatabaseTool(BackupError):
    """pg_dump or pg_restore is missing, too old, or did not do its work."""

    code = "database_tool"
