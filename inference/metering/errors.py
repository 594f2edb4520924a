"""What can go wrong with a usage journal. Callers decide whether to refuse work; nothing here speaks HTTP."""

from __future__ import annotations


class MeteringError(Exception):
    """Root of this package's errors."""

    code = "metering_error"
    permanent = False


class JournalFull(MeteringError):
    """Records wait in memory because the disk takes none, and the bound on waiting records is reached."""

    code = "journal_full"
