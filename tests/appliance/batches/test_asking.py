"""Lines on their way through a gateway that speaks HTTP: how many are held at once, and what becomes of broken ones."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance.batches import asking
from appliance.batches.asking import MOST_HELD, Asking
from appliance.batches.client import Gateway
from appliance.batches.gate import Gate
from appliance.batches.keeper import Keeper
from appliance.batches.pace import Pace
from appliance.batches.results import Done, ResultFile
from tests.appliance.batches.cast import CHAT, request
from tests.fakes.gateway import FakeGateway


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    gateway = FakeGateway()
    gateway.start()
    yield gateway
    gateway.end()


async def nothing(secret: str) -> None:
    """Keys are not refused here."""


def line(number: int, orders: str = "") -> tuple[int, bytes]:
    return number, json.dumps(request(str(number), orders)).encode()


def asked_by(client: Gateway, keeper: Keeper) -> Asking:
    return Asking(CHAT, client, Gate(Pace()), keeper, lambda: "key", nothing)


@pytest.mark.parametrize(("most_bytes", "most"), [(1 << 40, MOST_HELD), (930, 10), (1, 1)])
def test_lines_that_wait_after_a_fault_are_not_more_than_memory_has_room_for(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_bytes: int, most: int
) -> None:
    monkeypatch.setattr(asking, "MOST_HELD_BYTES", most_bytes)
    monkeypatch.setattr(asking, "wait_s", lambda answer, tries: 3600.0)

    async def work() -> None:
        async with Gateway(f"http://127.0.0.1:{gateway.port}") as client:
            one = asked_by(client, Keeper(ResultFile(tmp_path, 1), Done()))
            lines = (line(number, "fault=99") for number in range(100, 100 + 5 * MOST_HELD))
            running = asyncio.create_task(one.run(lines, lambda: 60.0))
            while gateway.asked.total() < most:
                await asyncio.sleep(0.01)
            await asyncio.wait({running}, timeout=2 * asking.LOOK_S)
            one.halt()
            await running

    asyncio.run(work())
    assert gateway.asked.total() == most


def test_a_line_that_can_not_be_read_any_more_is_an_error_and_stops_no_other(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    file = ResultFile(tmp_path, 1)
    keeper = Keeper(file, Done())

    async def work() -> Asking:
        async with Gateway(f"http://127.0.0.1:{gateway.port}") as client:
            writing = asyncio.create_task(keeper.run())
            one = asked_by(client, keeper)
            await one.run(iter([line(1), (2, b'{"custom_id": 7}'), (3, b"[" * 100_000), line(4)]), lambda: 60.0)
            writing.cancel()
            return one

    one = asyncio.run(work())
    file.close()
    assert (keeper.done.lines, keeper.done.num_completed, keeper.done.num_failed) == ({1, 2, 3, 4}, 2, 2)
    assert one.gate.pace.num_running == 0


def test_an_answer_that_finds_no_room_on_the_disk_during_the_grace_is_waited_for(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments, graces = [0.0], [60.0, math.inf]
    monkeypatch.setattr(asking, "time", SimpleNamespace(monotonic=lambda: moments[-1]))
    file = ResultFile(tmp_path, 1)
    keeper = Keeper(file, Done())

    def grace_s() -> float:
        if not graces:
            gateway.released.set()
            return math.inf
        if len(graces) == 1:
            moments.append(61.0)  # the first grace is over
        return graces.pop(0)

    async def work() -> None:
        async with Gateway(f"http://127.0.0.1:{gateway.port}") as client:
            writing = asyncio.create_task(keeper.run())
            one = asked_by(client, keeper)
            running = asyncio.create_task(one.run(iter([line(1, "hold=1")]), grace_s))
            while not gateway.num_open:
                await asyncio.sleep(0.01)
            one.halt()
            await running
            writing.cancel()

    asyncio.run(work())
    file.close()
    assert keeper.done.lines == {1}
