"""Devices lent and given back on engines that come up at once: they sleep where they can, end where they can't."""

import contextlib
import os
import signal
import threading
from dataclasses import replace

import pytest

from inference.pool.engine_client import EngineClient
from inference.pool.errors import EngineUnreachable
from inference.pool.lend_policy import Lending, Loan
from inference.pool.process import is_alive
from inference.pool.states import ReplicaState
from tests.waiting import wait_until

S = ReplicaState
JOB = "ftjob-1"
WAIT_S = 60


@pytest.fixture
def lenders(make_pool):
    """A pool with two serving replicas of a model that lends."""

    def make(sleepy=True, **more):
        pool = make_pool(canary_period_s=60, devices_s=0.5)
        model = pool.deploy(replicas=2, lending=Lending(), **more)
        if sleepy:
            (model / "sleepy").touch()
        pool.start()
        for index in (0, 1):
            reach(pool, S.READY, index)
        return pool

    return make


def reach(pool, state, index=1):
    wait_until(lambda: (row := pool.row(index=index)) is not None and row.state is state, timeout_s=WAIT_S)
    return pool.row(index=index)


def borrow(pool):
    """Wait for a device and get one; the row that lent it."""
    with pool.store.open() as tables:
        tables.wishes = [JOB]
    wait_until(lambda: pool.row(index=1).loan == Loan(JOB, given=True), timeout_s=WAIT_S)
    return pool.row(index=1)


def give_back(pool):
    with pool.store.open() as tables:
        tables.leased = set()


def is_sleeping(life):
    return EngineClient(life.socket).get("/is_sleeping", 5).json()["is_sleeping"]


def test_an_engine_sleeps_while_its_device_is_lent_and_serves_again_after(lenders):
    pool = lenders()
    serving = pool.row(index=0)
    with pool.store.open() as tables:
        tables.moves.clear()
    row = borrow(pool)
    assert (row.state, row.reason) == (S.SLEEPING, f"lent to {JOB}")
    assert is_sleeping(row.life)
    assert pool.row(index=0) == serving
    give_back(pool)
    back = reach(pool, S.READY)
    assert (back.life, back.loan, back.reason, back.devices) == (row.life, None, "", row.devices)
    assert not is_sleeping(back.life)
    assert pool.states() == ["draining", "sleeping", "warming", "ready"]


def test_a_request_that_runs_is_not_cut(lenders):
    pool = lenders()
    answers = []
    socket = pool.row(index=1).life.socket

    def ask():
        body = {"max_tokens": 3, "seconds": 1.5}
        answers.append(EngineClient(socket).post("/v1/completions", body, WAIT_S, "r").json()["choices"])

    asked = threading.Thread(target=ask)
    asked.start()
    wait_until(
        lambda: b"requests_running" in (page := metrics(socket)) and b'running{engine="0",model_name="m"} 1' in page
    )
    borrow(pool)
    asked.join()
    assert answers == [[{"finish_reason": "length"}]]


def test_a_request_that_does_not_end_is_cut_in_time_and_waited_for_by_no_sleep(make_pool):
    pool = make_pool(canary_period_s=60, devices_s=0.5, patient_drain_s=0.5, grace_s=0.5)
    model = pool.deploy(replicas=2, lending=Lending())
    (model / "sleepy").touch()
    pool.start()
    for index in (0, 1):
        reach(pool, S.READY, index)
    life = pool.row(index=1).life
    body = {"max_tokens": 3, "seconds": 3 * WAIT_S}

    def ask():
        with contextlib.suppress(EngineUnreachable):
            EngineClient(life.socket).post("/v1/completions", body, 4 * WAIT_S, "r")

    asked = threading.Thread(target=ask)
    asked.start()
    wait_until(lambda: b'running{engine="0",model_name="m"} 1' in metrics(life.socket))
    row = borrow(pool)
    assert (row.state, row.life) == (S.STOPPED, None)
    assert not is_alive(life.pid, life.pid_started)
    asked.join()


def metrics(socket):
    return EngineClient(socket).get("/metrics", 5).body


def test_an_engine_that_can_not_sleep_ends_and_is_started_anew(lenders):
    pool = lenders(sleepy=False)
    before = pool.row(index=1).life
    row = borrow(pool)
    assert (row.state, row.reason, row.life) == (S.STOPPED, f"lent to {JOB}", None)
    assert not is_alive(before.pid, before.pid_started)
    give_back(pool)
    back = reach(pool, S.READY)
    assert back.life != before
    assert back.loan is None


def test_adapters_are_verified_and_loaded_anew_after_the_sleep(lenders):
    pool = lenders(flags=("--enable-lora", "--max-lora-rank", "8"))
    wish = pool.adapt(1)
    lives = [pool.row(index=index).life for index in (0, 1)]  # one without would be lent before one with
    wait_until(lambda: all(pool.loads(life).get("1") == (True, "") for life in lives), timeout_s=WAIT_S)
    row = borrow(pool)
    assert pool.loads(row.life) == {}
    assert models(row.life) == ["m"]
    give_back(pool)
    wait_until(lambda: pool.loads(row.life).get("1") == (True, ""), timeout_s=WAIT_S)
    assert models(row.life) == ["m", wish.name]


def models(life):
    return [card["id"] for card in EngineClient(life.socket).get("/v1/models", 5).json()["data"]]


def test_one_that_died_asleep_is_started_once_its_device_is_back(lenders):
    pool = lenders()
    row = borrow(pool)
    os.kill(row.life.pid, signal.SIGKILL)
    dead = reach(pool, S.FAILED)
    assert dead.loan == Loan(JOB, given=True)
    assert dead.life is None
    give_back(pool)
    assert reach(pool, S.READY).life != row.life


def test_one_that_does_not_wake_is_started_anew(lenders):
    pool = lenders()
    row = borrow(pool)
    (pool.folder / "models" / "lite" / "sleepy").write_text("bad")
    give_back(pool)
    wait_until(lambda: "did not wake up" in pool.store._tables.ended.get(row.life.id, ""), timeout_s=WAIT_S)
    assert reach(pool, S.READY).life != row.life


def test_a_new_pool_adopts_a_sleeping_engine_and_wakes_it(lenders):
    pool = lenders()
    row = borrow(pool)
    pool.leave()
    give_back(pool)
    pool.start()
    assert reach(pool, S.READY).life == row.life


def test_a_new_pool_ends_a_drain_that_the_last_one_began(lenders):
    pool = lenders()
    row = pool.row(index=1)
    pool.leave()
    with pool.store.open() as tables:  # as a pool leaves it that is killed just then
        tables.rows[row.id] = replace(row, state=S.DRAINING, reason=f"lent to {JOB}", loan=Loan(JOB))
        tables.wishes = [JOB]
    pool.start()
    wait_until(lambda: pool.row(index=1).loan == Loan(JOB, given=True), timeout_s=WAIT_S)
    assert pool.row(index=1).life is None
    give_back(pool)
    assert reach(pool, S.READY).life != row.life


def test_it_serves_again_when_nobody_wants_the_device_any_more(lenders):
    pool = lenders()
    row = pool.row(index=1)
    pool.leave()
    with pool.store.open() as tables:
        tables.rows[row.id] = replace(row, state=S.DRAINING, loan=Loan(JOB))
    pool.start()
    assert reach(pool, S.READY).loan is None


def test_a_policy_that_is_over_asks_back_and_says_so(lenders):
    pool = lenders()
    borrow(pool)
    with pool.store.open() as tables:
        tables.desired = [replace(wanted, lending=None) for wanted in tables.desired]
    wait_until(lambda: pool.row(index=1).loan.asked_back, timeout_s=WAIT_S)
    assert pool.row(index=1).reason == "lent, and asked back: the model lends no longer"
    give_back(pool)
    assert reach(pool, S.READY).loan is None


def test_the_whole_appliance_can_stop_while_one_sleeps(lenders):
    pool = lenders()
    life = borrow(pool).life
    with pool.store.open() as tables:
        tables.stop = True
    wait_until(lambda: not pool.store.replicas(), timeout_s=WAIT_S)
    assert not is_alive(life.pid, life.pid_started)
