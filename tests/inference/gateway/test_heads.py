"""Heads come in the order of their keys, whatever comes, goes and changes meanwhile; a look reckons few keys."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.gateway.heads import RANK_AGAIN_S, Heads
from inference.gateway.queue import FairQueue, Waiting
from tests.inference.gateway.floor import Floor, errand, on_floor

# What happens: a request of a tenant comes, the next one goes, a tenant's key grows by so much, all keys are ranked anew.
steps = st.lists(
    st.tuples(st.sampled_from(["come", "go", "grow", "rank"]), st.integers(0, 5), st.integers(0, 9)), max_size=60
)


@given(steps)
def test_the_least_is_the_least_of_all_heads(played: list[tuple[str, int, int]]) -> None:
    async def play() -> None:
        keys = dict.fromkeys(map(str, range(6)), 0)
        queue: FairQueue[int] = FairQueue(1000, 10**9)
        heads = Heads(queue, lambda waiting, _: keys[waiting.errand.tenant])
        now = 0.0
        for step, number, amount in played:
            tenant = str(number)
            now += 0.001
            if step == "come":
                waiting: Waiting[int] = Waiting(errand(tenant), now, (), asyncio.get_running_loop().create_future())
                queue.add(waiting)
                heads.put(waiting, now)
            elif step == "go" and (head := queue.head(errand(tenant).lane, "m", tenant)) is not None:
                heads.remove(head, now)
            elif step == "grow":
                keys[tenant] += amount
            elif step == "rank":
                keys[tenant] = amount  # less, too: that is seen once all are ranked anew
                now += RANK_AGAIN_S
                heads.keep_ranked(now)
            found = [heads.least(alike, now) for alike in heads.alike()]
            if step == "rank" or not any(one[0] == "rank" for one in played):
                least = min(((keys[one.errand.tenant], one.since) for one in queue.heads()), default=None)
                assert [(one[0][0], one[0][1]) for one in found if one] == ([] if least is None else [least])

    asyncio.run(play())


def test_while_nothing_is_free_a_look_reckons_few_keys_of_many_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(floor: Floor) -> int:
        worker, num_keys = floor.workers[0], 0
        for number in range(300):
            floor.ask(errand(str(number)))
        key = worker._standing.key

        def counting(*args: Any) -> int:
            nonlocal num_keys
            num_keys += 1
            return key(*args)

        monkeypatch.setattr(worker._standing, "key", counting)
        monkeypatch.setattr(worker._heads, "_rank_at", float("inf"))
        for _ in range(10):
            worker._pump()
        return num_keys

    assert on_floor(play) < 100
