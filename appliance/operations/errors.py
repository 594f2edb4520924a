"""Why an upgrade is not planned, applied or resumed. Each message says what to do."""

from __future__ import annotations

from collections.abc import Sequence

from ops.upgrade.errors import UpgradeError


class UpgradeRefused(UpgradeError):
    """It must not be done; one line per reason."""

    code = "upgrade_refused"

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = tuple(reasons)


class NoSuchUpgrade(UpgradeError):
    """There is none to apply, resume, show or roll back."""

    code = "no_such_upgrade"


class UpgradeBusy(UpgradeError):
    """Another process applies one at the moment."""

    code = "upgrade_busy"
    permanent = False
