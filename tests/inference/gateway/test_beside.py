"""Coroutines stepped by hand: begun at once, woken by what they wait for, waited for at the end, never silent."""

from __future__ import annotations

import asyncio
import logging

import pytest

from inference.gateway.beside import Beside


def test_it_begins_at_once_and_goes_on_when_what_it_waits_for_is_there() -> None:
    async def main() -> list[str]:
        loop, told = asyncio.get_running_loop(), list[str]()
        beside, answer = Beside(loop), loop.create_future()

        async def ask() -> None:
            told.append("begun")
            told.append(await answer)
            await asyncio.sleep(0)
            told.append(await asyncio.to_thread(lambda: "from a thread"))

        beside.step(ask())
        told.append("beside")
        answer.set_result("answered")
        await beside.end(loop.time() + 30)
        return told

    assert asyncio.run(main()) == ["begun", "beside", "answered", "from a thread"]


def test_what_is_waited_for_in_vain_fails_inside_it() -> None:
    async def main() -> list[str]:
        loop, told = asyncio.get_running_loop(), list[str]()
        beside, answer = Beside(loop), loop.create_future()

        async def ask() -> None:
            try:
                await answer
            except OSError as error:
                told.append(str(error))

        beside.step(ask())
        answer.set_exception(OSError("away"))
        await beside.end(loop.time() + 30)
        return told

    assert asyncio.run(main()) == ["away"]


def test_a_failure_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        beside = Beside(loop)

        async def fail() -> None:
            raise RuntimeError("a fault")

        beside.step(fail())
        beside.spawn(fail())
        await beside.end(loop.time() + 30)

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert sum("a fault" in str(one.exc_info and one.exc_info[1]) for one in caplog.records) == 2


def test_the_end_does_not_wait_longer_than_its_deadline() -> None:
    async def main() -> bool:
        loop = asyncio.get_running_loop()
        beside, never = Beside(loop), loop.create_future()

        async def ask() -> None:
            await never

        beside.step(ask())
        async with asyncio.timeout(30):
            await beside.end(loop.time() + 0.05)
        return not never.done()

    assert asyncio.run(main())
