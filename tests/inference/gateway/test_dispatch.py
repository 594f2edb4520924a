"""Who waits and who is refused, and which replica a request gets."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from inference.gateway.directory import Snapshot
from inference.gateway.errors import ApiError
from inference.gateway.lanes import Lane
from inference.gateway.pace import MAX_WAIT_S
from inference.gateway.place import Place
from inference.gateway.queue import Waiting
from inference.gateway.turn import Turn
from tests.inference.gateway.floor import ANSWER, Floor, errand, on_floor, replica


def test_a_full_queue_sends_the_greediest_tenants_newest_away() -> None:
    async def play(floor: Floor) -> None:
        floor.ask(errand("many"))
        floor.ask(errand("many"))
        waiting = [floor.ask(errand("many")) for _ in range(3)]
        with pytest.raises(ApiError) as raised:
            floor.ask(errand("many"))
        assert (raised.value.status, raised.value.code) == (503, "overloaded")
        assert dict(raised.value.headers)["retry-after"] == str(MAX_WAIT_S)
        floor.ask(errand("few"))
        assert isinstance(waiting[2], Waiting)
        with pytest.raises(ApiError):
            await waiting[2].answer
        await floor.serve(3)
        assert sorted(floor.order[2:]) == ["few", "many", "many"]

    on_floor(play, queue=(3, 10**6))


def test_a_queue_full_of_bytes_takes_no_more() -> None:
    async def play(floor: Floor) -> None:
        for _ in range(3):
            floor.ask(errand("many"))
        with pytest.raises(ApiError):
            floor.ask(errand("many", num_bytes=601))
        with pytest.raises(ApiError):
            floor.ask(errand("few", num_bytes=10**6))
        floor.ask(errand("few", num_bytes=600))
        await floor.serve(2)
        assert sorted(floor.order[2:]) == ["few", "many"]

    on_floor(play, queue=(100, 1000))


def test_time_in_the_queue_ends_with_a_refusal() -> None:
    async def play(floor: Floor) -> None:
        for _ in range(2):
            floor.ask(errand("t"))
        late = floor.ask(errand("t"))
        assert isinstance(late, Waiting)
        with pytest.raises(ApiError) as raised:
            await late.answer
        assert (raised.value.status, raised.value.code) == (503, "overloaded")

    on_floor(play, wait_s=0.05)


def test_a_stuck_or_leaving_workers_head_holds_nobody_up() -> None:
    async def play(floor: Floor) -> None:
        for _ in range(2):
            floor.ask(errand("t"))
        fim = floor.ask(errand("other", Lane.FIM), worker=1)
        floor.ask(errand("t"))
        assert isinstance(fim, Waiting)
        floor.workers[1].leave_queue(fim)
        await floor.serve(1)
        assert floor.order == ["t"] * 3
        floor.ask(errand("other", Lane.FIM), worker=1)
        floor.ask(errand("t"))
        timer = floor.workers[1]._timer
        assert timer is not None
        timer.cancel()  # it shows a head and never looks again
        await floor.serve(1)
        assert floor.order == ["t"] * 4

    on_floor(play, workers=2)


def test_a_replica_that_comes_to_a_long_queue_takes_all_in_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(floor: Floor) -> tuple[list[str], int]:
        worker, num_keys = floor.workers[0], 0
        for number in range(300):
            floor.ask(errand(str(number // 10)))
        await asyncio.sleep(0)  # all of them wait now, to be woken in the order of their places
        key = worker._standing.key

        def counting(*args: Any) -> int:
            nonlocal num_keys
            num_keys += 1
            return key(*args)

        monkeypatch.setattr(worker._standing, "key", counting)
        more = replica("more", max_sequences=320)
        worker._directory.snapshot = Snapshot(2, replicas={"m": (replica(), more)})
        before = len(floor.order)
        worker._pump()
        while len(floor.order) < 300:
            await asyncio.sleep(0)
        return floor.order[before:], num_keys

    order, num_keys = on_floor(play)
    # one look over the heads for each of them was 30 times as much, and stood in every stream's way meanwhile
    assert num_keys < 4 * 300
    assert max(Counter(order[:60]).values()) <= 3


def test_a_full_model_holds_no_other_up() -> None:
    async def play(floor: Floor) -> None:
        for _ in range(5):
            floor.ask(errand("t"))
        through = floor.ask(errand("t", model="ft"))
        assert isinstance(through, Waiting)
        assert through.answer.done()

    on_floor(play, replica(), replica("two", "ft"))


def test_a_replica_with_an_open_circuit_is_taken_only_where_there_is_no_other() -> None:
    async def play(floor: Floor) -> None:
        worker = floor.workers[0]
        for _ in range(3):
            worker.breaker.failed("life-one", time.monotonic() + 100)
        places = [worker.ask(errand("t", prefix=prefix)) for prefix in range(20)]
        assert {one.replica.replica_id for one in places if isinstance(one, Place)} == {"two"}
        last = worker.ask(errand("t"), avoid={"life-two"})
        assert isinstance(last, Place)
        assert last.replica.replica_id == "one"

    on_floor(play, replica("one", max_sequences=50), replica("two", max_sequences=50))


def test_places_are_given_back_once() -> None:
    async def play(floor: Floor) -> None:
        worker = floor.workers[0]
        place = worker.ask(errand("t"))
        assert isinstance(place, Place)
        life, share = worker.board.life("life-one"), worker.board.share("m\n\nt")
        assert worker.board.load(life) == (1, 200)
        place.leave()
        place.leave(ANSWER)
        assert (worker.board.load(life), worker.board.served(share)) == ((0, 0), 0)

    on_floor(play)


def test_a_client_that_left_on_the_way_to_a_replica_does_not_wait_for_another() -> None:
    async def play(floor: Floor) -> None:
        worker = floor.workers[0]
        turn = Turn(worker, errand("t"))
        first = await turn.place()
        assert first is not None
        for _ in range(5):
            floor.ask(errand("others"))
        turn.give_up()
        first.leave()
        async with asyncio.timeout(20):
            assert await turn.place() is None
        assert turn.tried == {"life-one"}

    on_floor(play)
