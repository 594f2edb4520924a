"""A rolling restart on engines that come up at once, under a stream of requests."""

import threading
from dataclasses import replace

from inference.pool.engine_client import EngineClient
from inference.pool.states import ReplicaState
from tests.waiting import wait_until

S = ReplicaState


def test_engines_are_replaced_one_by_one_and_none_is_cut(make_pool):
    pool = make_pool(canary_period_s=60, drain_s=0.1, grace_s=0.1)
    pool.deploy(replicas=2)
    pool.start()
    before = {wait_ready(pool, index).life for index in (0, 1)}
    answers, busy = [], {life.socket for life in before}
    asked = [threading.Thread(target=ask, args=(socket, answers)) for socket in busy]
    for request in asked:
        request.start()
    with pool.store.open() as tables:
        tables.desired = [replace(wanted, restart=1) for wanted in tables.desired]
        wanted = tables.desired[0]
        tables.moves.clear()
    wait_until(lambda: {way(pool, 0), way(pool, 1)} == {wanted.way}, timeout_s=60)
    for request in asked:
        request.join()
    assert answers == [200, 200]
    assert one_at_a_time(pool)
    assert not {life.id for life in before} & {wait_ready(pool, index).life.id for index in (0, 1)}


def test_somebody_has_the_adapters_all_the_while(make_pool):
    pool = make_pool(canary_period_s=60)
    model = pool.deploy(replicas=2, flags=("--enable-lora", "--max-lora-rank", "8"))
    pool.adapt(1)
    pool.start()
    wait_until(lambda: all(has_adapter(pool, index) for index in (0, 1)), timeout_s=60)
    (model / "patient").write_text("1")
    with pool.store.open() as tables:
        tables.desired = [replace(wanted, restart=1) for wanted in tables.desired]
        new = tables.desired[0].way

    def is_over():
        assert has_adapter(pool, 0) or has_adapter(pool, 1)
        return {way(pool, 0), way(pool, 1)} == {new}

    wait_until(is_over, timeout_s=60)


def has_adapter(pool, index):
    row = pool.row(index=index)
    return row is not None and row.state is S.READY and pool.loads(row.life).get("1") == (True, "")


def test_an_engine_that_does_not_come_up_leaves_the_other_serving(make_pool):
    pool = make_pool(canary_period_s=60)
    model = pool.deploy(replicas=2)
    pool.start()
    before = {index: wait_ready(pool, index).life for index in (0, 1)}
    (model / "broken").write_text("no such flag")
    with pool.store.open() as tables:
        tables.desired = [replace(wanted, restart=1) for wanted in tables.desired]
    pool.wait(lambda row: row.state is S.FAILED and row.restarts > 1, "the first one failed twice", timeout_s=60)
    assert pool.row(index=1).life == before[1]
    assert pool.row(index=1).state is S.READY


def wait_ready(pool, index):
    wait_until(lambda: (row := pool.row(index=index)) is not None and row.state is S.READY, timeout_s=60)
    return pool.row(index=index)


def way(pool, index):
    row = pool.row(index=index)
    return row.life.way if row.life is not None and row.state is S.READY else None


def ask(socket, answers):
    body = {"max_tokens": 3, "seconds": 1.0}
    answers.append(EngineClient(socket).post("/v1/completions", body, 30, "lite").status)


def one_at_a_time(pool):
    """Whether no two replicas were out of service at once, by the moves in their order."""
    with pool.store.open() as tables:
        moves = list(tables.moves)
    out = set()
    for replica, state, _ in moves:
        out = out - {replica} if state is S.READY else out | {replica}
        if len(out) > 1:
            return False
    return True
