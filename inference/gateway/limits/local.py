"""A worker's own share of every limit, for as long as Redis is away: declared, counted, and reported once it is back.

The share is the limit divided by the number of workers. It starts fresh: what Redis had counted is not known here.
"""

from __future__ import annotations

import calendar
import math
import time
from collections.abc import Callable, Sequence

from inference.gateway.limits.gates import WINDOWS, Gate, Kind
from inference.gateway.limits.outcome import Left, Refused, Taken

MINUTE_S = 60.0
ROUNDING_S = 0.001  # of adding up seconds since 1970


class LocalShare:
    """Counters by gate. Nothing here waits."""

    def __init__(self, num_workers: int, clock: Callable[[], float] = time.time) -> None:
        self._num_workers = max(1, num_workers)
        self._clock = clock
        self._used: dict[str, tuple[float, int]] = {}  # window gates: its end, what was taken of it
        self._arrival: dict[str, float] = {}
        self._running: dict[str, set[str]] = {}

    def reserve(self, request_id: str, gates: Sequence[Gate]) -> Taken | Refused:
        """Take a request's amounts from every gate, or from none."""
        now = self._clock()
        waits = [self._wait_s(gate, now) for gate in gates]
        worst = max(waits, default=0.0)
        if worst > 0:
            return Refused(waits.index(worst), None if math.isinf(worst) else worst, self._left(gates, now))
        for gate in gates:
            self._take(gate, request_id, now)
        return Taken(self._left(gates, now))

    def settle(self, request_id: str, gates: Sequence[Gate], tokens: int, spend_micros: int) -> None:
        """Give back what was not used."""
        now = self._clock()
        for gate in gates:
            if gate.kind is Kind.RUNNING:
                self._running.get(gate.key, set()).discard(request_id)
            elif gate.kind in WINDOWS:
                ends, used = self._window(gate, now)
                actual = spend_micros if gate.kind is Kind.SPEND else tokens
                self._used[gate.key] = (ends, max(0, used + actual - gate.amount))

    def _share(self, gate: Gate) -> int:
        return max(1, gate.limit // self._num_workers)

    def _window(self, gate: Gate, now: float) -> tuple[float, int]:
        kept = self._used.get(gate.key)
        return kept if kept is not None and kept[0] > now else (window_end(gate.kind, now), 0)

    def _wait_s(self, gate: Gate, now: float) -> float:
        share = self._share(gate)
        if gate.kind is Kind.REQUESTS:
            ahead = max(self._arrival.get(gate.key, now), now) - now
            wait_s = ahead + MINUTE_S / share - MINUTE_S
            return wait_s if wait_s > ROUNDING_S else 0.0
        if gate.kind is Kind.RUNNING:
            return 1.0 if len(self._running.get(gate.key, ())) >= share else 0.0
        if gate.amount > gate.limit:
            return math.inf
        ends, used = self._window(gate, now)
        # one request larger than the share must not be refused for ever
        return ends - now if used and used + gate.amount > share else 0.0

    def _take(self, gate: Gate, request_id: str, now: float) -> None:
        if gate.kind is Kind.REQUESTS:
            self._arrival[gate.key] = max(self._arrival.get(gate.key, now), now) + MINUTE_S / self._share(gate)
        elif gate.kind is Kind.RUNNING:
            self._running.setdefault(gate.key, set()).add(request_id)
        else:
            ends, used = self._window(gate, now)
            self._used[gate.key] = (ends, used + gate.amount)

    def _left(self, gates: Sequence[Gate], now: float) -> tuple[Left, ...]:
        return tuple(self._left_of(gate, now) for gate in gates)

    def _left_of(self, gate: Gate, now: float) -> Left:
        share = self._share(gate)
        if gate.kind is Kind.REQUESTS:
            ahead = max(self._arrival.get(gate.key, now), now) - now
            return Left(max(0, math.floor((MINUTE_S - ahead) * share / MINUTE_S + 1e-6)), ahead)
        if gate.kind is Kind.RUNNING:
            return Left(max(0, share - len(self._running.get(gate.key, ()))), 0.0)
        ends, used = self._window(gate, now)
        return Left(max(0, share - used), ends - now)


def window_end(kind: Kind, now: float) -> float:
    """When the window of this moment ends (UTC). Unix seconds."""
    if kind is Kind.MINUTE:
        return (math.floor(now / 60) + 1) * 60.0
    if kind is Kind.DAY:
        return (math.floor(now / 86400) + 1) * 86400.0
    year, month = time.gmtime(now)[:2]
    following = (year + 1, 1) if month == 12 else (year, month + 1)
    return float(_seconds(*following))


def _seconds(year: int, month: int) -> int:
    return calendar.timegm((year, month, 1, 0, 0, 0, 0, 0, 0))
