"""What ends a step of an upgrade. Each message says what is wrong, and where that is known, what to do about it."""

from __future__ import annotations


class UpgradeError(Exception):
    """An upgrade can't be planned or go on. `permanent` says that trying again unchanged is pointless."""

    code = "upgrade_error"
    permanent = True


class StepRefused(UpgradeError):
    """A step's check found that it must not be done."""

    code = "step_refused"


class StepFailed(UpgradeError):
    """A step was done and did not bring what it should."""

    code = "step_failed"
