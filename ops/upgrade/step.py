"""One step of an upgrade. What the steps do is their owner's; in which order they are called is `run`'s."""

from __future__ import annotations

from typing import Protocol


class Step(Protocol):
    """Each call may come again after a crash, with any part of its work done before: all of them are idempotent."""

    @property
    def name(self) -> str:
        """Its name in the ledger, unlike any other step's of the same upgrade."""

    def check(self) -> None:
        """Look whether it can be done, changing nothing.

        Raises: StepRefused.
        """

    def apply(self) -> None:
        """Do it.

        Raises: StepFailed.
        """

    def verify(self) -> None:
        """Look whether it brought what it should.

        Raises: StepFailed.
        """

    def undo(self) -> None:
        """Take back what `apply` did, all, a part, or nothing of it.

        Raises: StepFailed.
        """
