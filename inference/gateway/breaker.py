"""A circuit breaker per life of a replica: one that fails again and again gets no requests for a while, then one on trial.

Each worker learns for itself: it takes three requests, and the others' failures could be a worker's own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

FAILURES_TO_OPEN = 3  # in a row, each before the first byte of an answer, or with a status of 500 and above
FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 30.0


@dataclass
class _Circuit:
    failures: int = 0
    open_until: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S

    @property
    def broken(self) -> bool:
        return self.failures >= FAILURES_TO_OPEN


class Breaker:
    """Lives that failed lately. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._circuits: dict[str, _Circuit] = {}

    def __bool__(self) -> bool:
        """Whether any life failed lately."""
        return bool(self._circuits)

    def is_open(self, life_id: str, now: float) -> bool:
        """Whether a request should go elsewhere."""
        circuit = self._circuits.get(life_id)
        return circuit is not None and circuit.broken and now < circuit.open_until

    def began(self, life_id: str, now: float) -> None:
        """A request goes there; where the back-off is over it is the trial, and the only one for as long again."""
        circuit = self._circuits.get(life_id)
        if circuit is not None and circuit.broken:
            circuit.open_until = max(circuit.open_until, now + circuit.backoff_s)

    def worked(self, life_id: str) -> None:
        """It answered: all is forgotten."""
        if self._circuits:
            self._circuits.pop(life_id, None)

    def failed(self, life_id: str, now: float) -> bool:
        """It did not take a request, or went away before the first byte; True where that opens a closed circuit."""
        circuit = self._circuits.setdefault(life_id, _Circuit())
        was_broken = circuit.broken
        circuit.failures += 1
        if circuit.broken:
            circuit.backoff_s = min(circuit.backoff_s * 2, MAX_BACKOFF_S) if was_broken else FIRST_BACKOFF_S
            circuit.open_until = now + circuit.backoff_s
        return circuit.broken and not was_broken

    def keep(self, lives: Collection[str]) -> None:
        """Forget all lives but these."""
        for life_id in [one for one in self._circuits if one not in lives]:
            del self._circuits[life_id]
