"""Who gets the next place: fairness over tenants, lanes and workers, on a real board with places that a test frees."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.gateway import dispatch, errors
from inference.gateway.board import Board
from inference.gateway.directory import Directory, Replica, Snapshot
from inference.gateway.dispatch import Dispatcher, room
from inference.gateway.errors import ApiError
from inference.gateway.lanes import Lane
from inference.gateway.pace import MAX_WAIT_S, Pace
from inference.gateway.place import Place, cost
from inference.gateway.queue import Errand, FairQueue, Waiting
from inference.gateway.turn import Turn
from inference.gateway.usage import Usage

ANSWER = Usage(prompt_tokens=100, completion_tokens=100, exact=True)


def replica(name: str = "one", model: str = "m", max_sequences: int | None = 1) -> Replica:
    return Replica(name, f"life-{name}", model, f"/{name}", max_sequences)


def directory(*replicas: Replica) -> Directory:
    by_model: dict[str, tuple[Replica, ...]] = {}
    for one in replicas or (replica(),):
        by_model[one.model] = (*by_model.get(one.model, ()), one)
    return Directory(Snapshot(1, replicas=by_model))


def errand(tenant: str, lane: Lane = Lane.CHAT, weight: int = 100, model: str = "m", **more: int) -> Errand:
    known = {"prefix": 1, "num_sequences": 1, "prompt_tokens": 100, "max_tokens": 100, "num_bytes": 400}
    return Errand(lane=lane, tenant=tenant, weight=weight, model=model, base="m", **{**known, **more})


class Floor:
    """Workers of one gateway, and the order in which requests got their places."""

    def __init__(self, root: Path, found: Directory, workers: int, queue: tuple[int, int], wait_s: float) -> None:
        boards = [Board(root / "board") for _ in range(workers)]
        self.workers = [Dispatcher(found, board, FairQueue(*queue), wait_s) for board in boards]
        self.order: list[str] = []
        self.running: list[tuple[str, Place]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def ask(self, what: Errand, worker: int = 0, name: str = "") -> Place | Waiting[Place]:
        found = self.workers[worker].ask(what)
        if isinstance(found, Place):
            self._got(name or what.tenant, found)
        else:
            self.tasks.append(asyncio.create_task(self._wait(name or what.tenant, found)))
        return found

    async def _wait(self, name: str, waiting: Waiting[Place]) -> None:
        try:
            place = await waiting.answer
        except ApiError:
            return
        if place is not None:
            self._got(name, place)

    def _got(self, name: str, place: Place) -> None:
        self.order.append(name)
        self.running.append((name, place))

    async def serve(self, num: int, used: Usage = ANSWER) -> None:
        """Let so many requests end, one after the other, each time waiting until its place is taken again."""
        for _ in range(num):
            taken = len(self.order)
            self.running.pop(0)[1].leave(used)
            async with asyncio.timeout(20):
                while len(self.order) == taken:
                    await asyncio.sleep(0.001)


def on_floor(
    play: Callable[[Floor], Awaitable[Any]],
    *replicas: Replica,
    workers: int = 1,
    queue: tuple[int, int] = (1000, 10**6),
    wait_s: float = 600,
) -> Any:
    async def run() -> Any:
        with TemporaryDirectory() as root:
            floor = Floor(Path(root), directory(*replicas), workers, queue, wait_s)
            try:
                return await play(floor)
            finally:
                for worker in floor.workers:
                    worker.close(errors.draining())
                await asyncio.gather(*floor.tasks)
                for worker in floor.workers:
                    worker.shut()

    return asyncio.run(run())


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
        key = worker._key

        def counting(*args: Any) -> int:
            nonlocal num_keys
            num_keys += 1
            return key(*args)

        monkeypatch.setattr(worker, "_key", counting)
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


def test_the_wait_is_told_by_the_rate_of_endings() -> None:
    pace = Pace()
    assert pace.wait_s(1, 0) == MAX_WAIT_S
    for second in range(20):
        pace.ended(second, 1, 50)
    assert pace.wait_s(10, 20) == 10
    assert pace.wait_s(10_000, 20) == MAX_WAIT_S
    assert pace.wait_s(0, 20) == 1
    assert pace.wait_s(5, 1000) == MAX_WAIT_S
    assert 50 < pace.answer_tokens < 256
    assert pace.expect(2, 10) == 20
