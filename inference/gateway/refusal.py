"""The handler of a request that is refused at its head: its body is read past, up to the cap, then answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.gateway.errors import ApiError

if TYPE_CHECKING:
    from inference.gateway.front import Front


class Refusal:
    """Answers with an error once the body has been read past, or at once where it is large."""

    def __init__(self, front: Front, error: ApiError, max_body_bytes: int) -> None:
        self._front = front
        self._error = error
        self.status = error.status
        self._left = max_body_bytes
        self._answered = False

    def now(self) -> None:
        """Answer without waiting for the body."""
        if not self._answered:
            self._answered = True
            self._front.refuse(self._error)

    def body(self, chunk: bytes) -> None:
        """Thrown away."""
        self._left -= len(chunk)
        if self._left < 0:
            self.now()

    def body_end(self) -> None:
        """The request is whole."""
        self.now()

    def client_lost(self) -> None:
        """Nothing is at stake."""
        self._answered = True

    def pause_output(self) -> None:
        """Nothing to pause."""

    def resume_output(self) -> None:
        """Nothing to resume."""

    def expire(self, error: ApiError) -> None:
        """It ends as it would have."""
        self.now()

    def sweep(self, now: float) -> None:
        """Nothing to watch."""
