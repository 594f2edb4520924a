"""Who gets the next place: fairness over tenants, lanes and workers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.gateway import dispatch
from inference.gateway.dispatch import room
from inference.gateway.lanes import Lane
from inference.gateway.place import cost
from inference.gateway.queue import Waiting
from inference.gateway.usage import Usage
from tests.inference.gateway.floor import Floor, errand, on_floor, replica


@pytest.mark.parametrize("workers", [1, 2])
def test_a_tenant_with_ten_requests_does_not_wait_for_one_with_a_hundred(workers: int) -> None:
    async def play(floor: Floor) -> list[str]:
        for _ in range(100):
            floor.ask(errand("many"))
        before = len(floor.order)
        for _ in range(10):
            floor.ask(errand("few"), worker=workers - 1)
        await floor.serve(30)
        return floor.order[before:]

    order = on_floor(play, workers=workers)
    assert Counter(order[:20])["few"] in range(9, 11)
    assert Counter(order)["few"] == 10


@pytest.mark.parametrize("workers", [1, 2])
def test_tenants_are_served_in_proportion_to_their_weight(workers: int) -> None:
    async def play(floor: Floor) -> Counter[str]:
        for _ in range(60):
            floor.ask(errand("light", weight=100))
            floor.ask(errand("heavy", weight=300), worker=workers - 1)
        before = len(floor.order)
        await floor.serve(40)
        return Counter(floor.order[before:])

    assert on_floor(play, workers=workers)["heavy"] in range(28, 33)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 2000)), min_size=2, max_size=4))
def test_while_all_wait_nobody_gets_more_than_a_request_ahead(tenants: list[tuple[int, int]]) -> None:
    async def play(floor: Floor) -> None:
        for number, (weight, prompt) in enumerate(tenants):
            for _ in range(40):
                floor.ask(errand(str(number), weight=weight, prompt_tokens=prompt))
        board = floor.workers[0].board
        for _ in range(35):
            prompt = tenants[int(floor.running[0][0])][1]
            await floor.serve(1, Usage(prompt_tokens=prompt, completion_tokens=100, exact=True))
        served = [board.served(board.share(f"m\n\n{number}")) for number in range(len(tenants))]
        # two run at a time, and what they are charged for is put right at their end
        ahead = 3 * max(cost(prompt, 100, weight) for weight, prompt in tenants)
        assert max(served) - min(served) <= ahead

    on_floor(play)


def test_a_tenant_that_comes_back_has_saved_nothing_up() -> None:
    async def play(floor: Floor) -> list[str]:
        floor.ask(errand("late"))
        for _ in range(60):
            floor.ask(errand("steady"))
        await floor.serve(40)
        before = len(floor.order)
        for _ in range(20):
            floor.ask(errand("late"))
        await floor.serve(16)
        return floor.order[before:]

    assert Counter(on_floor(play))["late"] in range(7, 11)


def test_lanes_go_first_to_last_and_batch_leaves_room() -> None:
    async def play(floor: Floor) -> list[str]:
        for _ in range(5):
            floor.ask(errand("t"), name="first")
        for lane in reversed(Lane):
            for _ in range(2):
                floor.ask(errand("t", lane), name=lane.label)
        await floor.serve(6)
        for _ in range(2):
            floor.running.pop()[1].leave()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        # three of four sequences are taken, and the last is not for batch
        assert len(floor.order) == 11
        await floor.serve(1)
        return floor.order

    order = on_floor(play, replica(max_sequences=4))
    assert order == [*["first"] * 5, "fim", "fim", "chat", "chat", "evaluation", "evaluation", "batch"]
    assert [room(replica(max_sequences=size), Lane.BATCH) for size in (1, 4, 8)] == [1, 3, 6]
    assert [room(replica(max_sequences=size), Lane.CHAT) for size in (1, 8, 32, None)] == [2, 9, 34, 272]


def test_chat_that_waited_long_stands_among_those_that_fill_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(floor: Floor) -> list[str]:
        for _ in range(2):
            floor.ask(errand("t"), name="first")
        floor.ask(errand("chat"))
        later = time.monotonic() + 11
        monkeypatch.setattr(dispatch, "time", SimpleNamespace(monotonic=lambda: later))
        for _ in range(4):
            floor.ask(errand("fim", Lane.FIM))
        await floor.serve(2)
        return floor.order[2:]

    assert "chat" in on_floor(play)


def test_the_oldest_of_a_tenant_goes_first_and_one_that_leaves_is_passed_over() -> None:
    async def play(floor: Floor) -> list[str]:
        floor.ask(errand("t"), name="a")
        floor.ask(errand("t"), name="b")
        leaves = floor.ask(errand("t"), name="c")
        floor.ask(errand("t"), name="d")
        floor.ask(errand("t"), name="e")
        assert isinstance(leaves, Waiting)
        floor.workers[0].leave_queue(leaves)
        assert await leaves.answer is None
        floor.workers[0].leave_queue(leaves)
        await floor.serve(2)
        return floor.order

    assert on_floor(play) == ["a", "b", "d", "e"]
