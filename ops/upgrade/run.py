"""Takes an upgrade's steps forward, and back where one fails. It may be killed at any moment and called again.

Forward: check, write *started*, apply, verify, write *done*. A step found *started* is applied again. Once a step has failed,
everything that was begun is undone, the last first; an upgrade found on its way back goes on backwards, never forward again.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from ops.upgrade.errors import UpgradeError
from ops.upgrade.ledger import BACKWARDS, Ledger, StepState
from ops.upgrade.step import Step

_S = StepState


class Outcome(StrEnum):
    """How far an upgrade came. `failed`: taking it back failed, and calling again tries that again."""

    DONE = "done"
    UNDONE = "undone"
    FAILED = "failed"


def advance(steps: Sequence[Step], ledger: Ledger) -> Outcome:
    """Go on from wherever the ledger says, to the end or all the way back. Called again after either, it changes nothing."""
    if is_going_back(ledger) or not all(_forward(step, ledger) for step in steps):
        return _back(steps, ledger)
    return Outcome.DONE


def is_going_back(ledger: Ledger) -> bool:
    """Whether a step has failed, so that the rest can only be taken back."""
    return not BACKWARDS.isdisjoint(ledger.states().values())


def turn_back(steps: Sequence[Step], ledger: Ledger, reason: str) -> None:
    """Have the next `advance` take everything back: the step that was begun last counts as failed."""
    if not is_going_back(ledger):
        states = ledger.states()
        begun = [step for step in steps if states[step.name] is not _S.WAITING] or steps[:1]
        ledger.mark(begun[-1].name, _S.FAILED, reason)


def _forward(step: Step, ledger: Ledger) -> bool:
    """Do one step; False when it failed, which is on record then."""
    if ledger.states()[step.name] is _S.DONE:
        return True
    try:
        step.check()
        ledger.mark(step.name, _S.STARTED)
        step.apply()
        step.verify()
    except Exception as error:  # noqa: BLE001 - whatever ended it, what is half done must be taken back
        ledger.mark(step.name, _S.FAILED, in_words(error))
        return False
    ledger.mark(step.name, _S.DONE)
    return True


def _back(steps: Sequence[Step], ledger: Ledger) -> Outcome:
    for step in reversed(steps):
        if ledger.states()[step.name] in (_S.WAITING, _S.UNDONE):
            continue
        ledger.mark(step.name, _S.UNDOING)
        try:
            step.undo()
        except Exception as error:  # noqa: BLE001 - a person has to look; what comes before it must stay as it is
            ledger.mark(step.name, _S.UNDOING, f"it could not be taken back: {in_words(error)}")
            return Outcome.FAILED
        ledger.mark(step.name, _S.UNDONE)
    return Outcome.UNDONE


def in_words(error: Exception) -> str:
    """An error for the record: our own messages as they are, others with their kind."""
    return str(error) if isinstance(error, UpgradeError) else f"{type(error).__name__}: {error}"
