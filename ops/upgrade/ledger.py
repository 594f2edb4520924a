"""What is on record of an upgrade's steps. Every move is written before what it announces, so that a crash leaves its trace."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol


class StepState(StrEnum):
    """How far a step is."""

    WAITING = "waiting"
    STARTED = "started"  # written before anything is done
    DONE = "done"  # applied and verified
    FAILED = "failed"  # refused, or did not bring what it should; it and everything before it is to be taken back
    UNDOING = "undoing"  # written before anything is taken back
    UNDONE = "undone"


_S = StepState

MOVES: dict[StepState, frozenset[StepState]] = {
    _S.WAITING: frozenset({_S.STARTED, _S.FAILED}),
    _S.STARTED: frozenset({_S.STARTED, _S.DONE, _S.FAILED}),  # started again after a crash
    _S.DONE: frozenset({_S.FAILED, _S.UNDOING}),  # failed: somebody wants all of it taken back
    _S.FAILED: frozenset({_S.UNDOING}),
    _S.UNDOING: frozenset({_S.UNDOING, _S.UNDONE}),  # undoing again after a crash
    _S.UNDONE: frozenset(),
}

# A step in one of these says that the upgrade is being taken back, or was.
BACKWARDS = frozenset({_S.FAILED, _S.UNDOING, _S.UNDONE})


class Ledger(Protocol):
    """Durable: what was written is there after a crash."""

    def states(self) -> Mapping[str, StepState]:
        """Every step's state by its name."""

    def mark(self, step: str, state: StepState, reason: str = "") -> None:
        """Write a step's next state, and why; without a reason the one on record stays."""
