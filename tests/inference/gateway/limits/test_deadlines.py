"""Waits of one length end in time, those that were answered are left alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from inference.gateway.limits.deadlines import Deadlines, TooSlow


def test_who_waits_too_long_is_told_and_who_was_answered_is_not() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        deadlines = Deadlines(0.05)
        futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in range(4)]
        for future in futures:
            deadlines.add(future)
        futures[0].set_result("in time")
        futures[2].cancel()
        for late in (futures[1], futures[3]):
            with pytest.raises(TooSlow):
                await late
        assert futures[0].result() == "in time"
        again = loop.create_future()
        deadlines.add(again)  # the timer is set anew
        with pytest.raises(TooSlow):
            await again

    asyncio.run(asyncio.wait_for(main(), 60))
