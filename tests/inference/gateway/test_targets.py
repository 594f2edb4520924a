"""The lane that fills in the middle has a target for its first event: it is counted, and the queue leaves room for it."""

from __future__ import annotations

import asyncio

import pytest

from inference.gateway import metrics
from inference.gateway.lanes import Lane
from inference.gateway.place import Place
from inference.gateway.queue import Waiting
from inference.gateway.targets import HELD_BACK_S, Targets
from tests.inference.gateway.test_dispatch import Floor, errand, on_floor, replica


def over(lane: Lane) -> float:
    return float(metrics.OVER_TARGET.labels(lane.label)._value.get())


def test_only_what_missed_the_lanes_target_is_counted() -> None:
    targets, before = Targets(0.3), over(Lane.FIM)
    for ttft_s in (0.1, 0.3, 0.4):
        targets.first_event(Lane.FIM, ttft_s)
    targets.first_event(Lane.CHAT, 60.0)
    assert over(Lane.FIM) == before + 1
    assert over(Lane.CHAT) == 0


@pytest.mark.parametrize(("places", "held"), [(1, 0), (2, 1), (5, 2), (17, 4), (272, 35)])
def test_after_a_long_wait_the_lanes_behind_leave_places_free_for_a_minute(places: int, held: int) -> None:
    targets = Targets(0.3)
    targets.waited(Lane.FIM, "m", 0.1, 100.0)
    targets.waited(Lane.CHAT, "m", 9.0, 100.0)
    assert targets.held_back(Lane.CHAT, "m", places, 100.0) == 0
    targets.waited(Lane.FIM, "m", 0.2, 100.0)
    assert [targets.held_back(lane, "m", places, 101.0) for lane in Lane] == [0, held, held, held]
    assert targets.held_back(Lane.CHAT, "another", places, 101.0) == 0
    assert targets.held_back(Lane.CHAT, "m", places, 100.0 + HELD_BACK_S) == 0


def test_once_one_had_to_wait_the_next_finds_a_place_at_once_while_chat_fills_the_queue() -> None:
    async def play(floor: Floor) -> list[str]:
        for _ in range(40):
            floor.ask(errand("chat"))
        first = floor.ask(errand("editor", Lane.FIM))
        assert isinstance(first, Waiting)  # chat has all there is
        first.since -= 1  # for a second by now
        while not first.answer.done():
            await floor.serve(1)
        seen = []
        for _ in range(6):
            floor.running.pop(0)[1].leave()
            await asyncio.sleep(0)  # the queue is looked through: no chat takes what became free
            asked = floor.ask(errand("editor", Lane.FIM))
            seen.append("at once" if isinstance(asked, Place) or asked.answer.done() else "waits")
            await asyncio.sleep(0)
        return seen

    assert on_floor(play, replica(max_sequences=8)) == ["at once"] * 6
