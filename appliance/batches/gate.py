"""Waiting for one's turn at a pace: what is asked again comes before what was never asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from appliance.batches.pace import Pace

LOOK_S = 1.0


class Gate:
    """One pace, shared by all batches of a tenant and model."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._changed = asyncio.Event()
        self._num_again = 0

    async def enter(self, halted: Callable[[], bool], *, again: bool = False) -> bool:
        """Wait until one more may be sent and count it; False when the caller was halted meanwhile."""
        self._num_again += again
        try:
            while not halted():
                wait_s = self.pace.wait_s(time.monotonic())
                behind = self._num_again > 0 and not again
                if wait_s == 0.0 and not behind:
                    self.pace.begin()
                    return True
                await self._change(LOOK_S if wait_s is None or behind else min(wait_s, LOOK_S))
            return False
        finally:
            self._num_again -= again

    def leave(self) -> None:
        """One ended."""
        self.pace.end()
        self.wake()

    def wake(self) -> None:
        """Something changed: everybody looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)
