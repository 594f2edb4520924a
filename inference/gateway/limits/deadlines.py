"""Time limits for many waits of one length: one timer for all, where one for each would cost more than the wait."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any


class TooSlow(Exception):
    """The time was up before an answer came."""

    permanent = False


class Deadlines:
    """Futures in the order of their deadlines, which is that of their coming."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, future: asyncio.Future[Any]) -> None:
        """It gets `TooSlow` unless it is done in time."""
        ends_at = self._loop.time() + self._within_s
        self._waiting.append((ends_at, future))
        if self._timer is None:
            self._timer = self._loop.call_at(ends_at, self._look)

    def _look(self) -> None:
        self._timer = None
        now, waiting = self._loop.time(), self._waiting
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now):
            _, future = waiting.popleft()
            if not future.done():
                future.set_exception(TooSlow())
        if waiting:
            self._timer = self._loop.call_at(waiting[0][0], self._look)
