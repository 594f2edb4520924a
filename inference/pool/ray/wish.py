"""Brings what the pool says of an engine's adapters to the machine that runs it, before a request that may need it.

The pool writes its file first and asks the engine to load an adapter then, each time over a connection of its own. So it is
enough to look whether the file is another one whenever somebody calls; a change that nobody calls for waits for the next look
at the engine's health.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

ARRIVE_S = 5.0  # then callers go on, for as long again: what the engine was not told of it does not load


class Courier:
    """`say` sends an object over; its number comes back to `arrived`."""

    def __init__(self, place: Path, say: Callable[[dict[str, Any]], None]) -> None:
        self._place = place
        self._say = say
        self._brought: tuple[int, int] | None = None
        self._not_before = 0.0
        self._number = 0
        self._arrival: asyncio.Future[None] | None = None
        self._lock = asyncio.Lock()

    async def bring(self) -> None:
        """Return once the other side has what the pool says now."""
        if self._is_known(self._stamp()):
            return
        async with self._lock:
            stamp = self._stamp()
            if self._is_known(stamp):
                return
            try:
                adapters = msgspec.json.decode(self._place.read_bytes(), type=dict[str, Any])
                await self._send(adapters)
                self._brought = stamp
            except (OSError, msgspec.DecodeError, TimeoutError):
                self._not_before = time.monotonic() + ARRIVE_S

    def arrived(self, number: object) -> None:
        """The other side has laid it down."""
        if number == self._number and self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def _send(self, adapters: dict[str, Any]) -> None:
        self._number += 1
        self._arrival = asyncio.get_running_loop().create_future()
        self._say({"adapters": adapters, "number": self._number})
        async with asyncio.timeout(ARRIVE_S):
            await self._arrival

    def _is_known(self, stamp: tuple[int, int] | None) -> bool:
        return stamp in (None, self._brought) or time.monotonic() < self._not_before

    def _stamp(self) -> tuple[int, int] | None:
        """Of the file as it is; None where there is none."""
        try:
            found = self._place.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
