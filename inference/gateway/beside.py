"""Coroutines run beside the callbacks: one that hardly ever waits is stepped by hand, which costs a fifth of a task.

A hand-stepped coroutine begins at once and is nobody's task: it can't be cancelled, and what needs a task around it
(`asyncio.timeout`) has to make its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Beside:
    """One worker's. What fails is logged; `end` waits for all of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._stepped: set[_Stepped] = set()  # those that wait

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something as a task."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def step(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something by hand, its beginning before this returns."""
        _Stepped(coroutine, self._loop, self._stepped)()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a request's task failed", exc_info=task.exception())

    async def end(self, deadline: float) -> None:
        """Wait until none is left, at most until a point of the loop's time; one that ends may begin another."""
        while (self._tasks or self._stepped) and self._loop.time() < deadline:
            if self._stepped:
                await asyncio.sleep(0.01)  # at a stop only: those that run are spared the bookkeeping
            else:
                await asyncio.wait(list(self._tasks), timeout=deadline - self._loop.time())


class _Stepped:
    """One coroutine; called whenever what it waits for is there."""

    __slots__ = ("_coroutine", "_loop", "_waiting")

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, waiting: set[_Stepped]
    ) -> None:
        self._coroutine, self._loop, self._waiting = coroutine, loop, waiting

    def __call__(self, _: Any = None) -> None:
        self._waiting.discard(self)
        try:
            awaited = self._coroutine.send(None)
        except StopIteration:
            return
        except BaseException as error:
            log.error("what a request started failed", exc_info=error)
            if not isinstance(error, Exception):
                raise
            return
        self._waiting.add(self)
        if awaited is None:  # a bare yield: next turn
            self._loop.call_soon(self)
        else:
            awaited._asyncio_future_blocking = False  # as a task says that it knows
            awaited.add_done_callback(self)
