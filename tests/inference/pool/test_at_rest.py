"""What a pool asks of its store while nothing happens: the stamp, and nothing that brings rows."""

import time
from collections import Counter

from inference.pool.reading import ANEW_S
from inference.pool.states import ReplicaState
from tests.waiting import wait_until


def test_a_pool_at_rest_asks_only_whether_something_changed(pool):
    asked = Counter()
    for name in ("stamp", "desired", "replicas", "desired_adapters", "leased_devices"):
        setattr(pool.store, name, counted(getattr(pool.store, name), name, asked))
    pool.deploy()
    pool.start()
    pool.wait_until(ReplicaState.READY)
    before, begun = settled(asked), time.monotonic()
    wait_until(lambda: asked["stamp"] >= before["stamp"] + 10)
    rows = [asked[name] - before[name] for name in asked if name != "stamp"]
    assert max(rows) <= 1 + (time.monotonic() - begun) / ANEW_S


def settled(asked):
    """The counts after two looks that read no row."""

    def quiet():
        rows, looks = asked["desired"], asked["stamp"]
        wait_until(lambda: asked["stamp"] >= looks + 2)
        return asked["desired"] == rows

    wait_until(quiet)
    return Counter(asked)


def counted(call, name, asked):
    def ask():
        asked[name] += 1
        return call()

    return ask
