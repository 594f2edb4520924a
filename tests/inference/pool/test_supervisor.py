"""The pool's loop and its keepers, on engines that come up at once and fail on demand."""

import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from inference.devices import open_probe
from inference.pool.engine_client import EngineClient
from inference.pool.process import is_alive
from inference.pool.states import ReplicaState
from tests.waiting import wait_until

S = ReplicaState


def test_it_brings_a_replica_up_to_ready(pool):
    pool.deploy()
    pool.start()
    row = pool.wait_until(S.READY)
    assert pool.states() == ["starting", "loading", "warming", "ready"]
    assert row.devices == ("cpu:0",)
    assert is_alive(row.life.pid, row.life.pid_started)


def test_it_journals_what_its_canaries_spent(pool):
    pool.deploy()
    pool.start()
    life = pool.wait_until(S.READY).life
    time.sleep(1.2)
    with pool.store.open() as tables:
        tables.stop = True
    pool.wait(lambda row: row is None, "all has ended")
    records, counters = pool.records(), pool.store._tables.counters[life.id]
    assert len(records) >= 3
    assert {(record.tenant_id, record.endpoint, record.life_id) for record in records} == {
        ("system", "canary", life.id)
    }
    assert sum(record.engine_prompt_tokens for record in records) == counters.prompt_tokens
    assert sum(record.completion_tokens for record in records) == counters.generation_tokens


def test_two_deployments_of_one_name_give_one_sample(make_pool):
    pool = make_pool(canary_period_s=60)
    pool.deploy("old")
    pool.deploy("new", model_path=pool.folder / "models" / "old")
    with pool.store.open() as tables:
        tables.desired = [replace(deployment, model="lite") for deployment in tables.desired]
    pool.start()
    asked = []
    for name in ("old", "new"):
        socket = pool.wait_until(S.READY, name).life.socket
        body = {"max_tokens": 3, "seconds": 1.5}
        asked.append(threading.Thread(target=EngineClient(socket).post, args=("/v1/completions", body, 5, name)))
    for request in asked:
        request.start()
    for request in asked:
        request.join()
    time.sleep(1)  # a few samples, and between them more looks for the metrics page
    with pool.store.open() as tables:
        samples = list(tables.samples)
    assert sum(load.ttft.total for _, load in samples) == 2
    assert {model for model, _ in samples} == {"lite"}
    assert max(load.running for _, load in samples) == 2


def test_it_leaves_engines_running_and_adopts_them(pool):
    pool.deploy()
    pool.start()
    life = pool.wait_until(S.READY).life
    assert pool.leave() < 2
    assert is_alive(life.pid, life.pid_started)
    pool.start()
    time.sleep(1)
    assert pool.row().life == life
    assert pool.row().state is S.READY


def test_it_starts_anew_what_died_while_nobody_watched(pool):
    pool.deploy()
    pool.start()
    life = pool.wait_until(S.READY).life
    pool.leave()
    os.kill(life.pid, signal.SIGKILL)
    pool.start()
    pool.wait(lambda row: row.state is S.READY and row.life != life, "ready with a new life")
    assert life.id in pool.store._tables.ended


def test_it_restarts_a_killed_engine(pool):
    pool.deploy()
    pool.start()
    life = pool.wait_until(S.READY).life
    os.kill(life.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    failed = pool.wait_until(S.FAILED)
    assert time.monotonic() - killed_at < 8
    assert failed.reason.startswith("the engine was killed by SIGKILL")
    assert failed.restarts == 1
    again = pool.wait(lambda row: row.state is S.READY, "ready again")
    assert again.life.id != life.id
    assert again.restarts == 1, "it has not served for a minute yet"


def test_it_shows_why_an_engine_does_not_load_while_the_rest_runs(pool):
    (pool.deploy("bad") / "broken").write_text("shard 3 is cut short")
    pool.deploy("good")
    pool.start()
    failed = pool.wait_until(S.FAILED, "bad")
    assert "exited with status 1" in failed.reason
    assert failed.reason.splitlines()[1] == "ValueError: shard 3 is cut short"
    assert failed.next_start_at is not None
    pool.wait_until(S.READY, "good")


def test_it_waits_longer_after_each_failure(pool):
    (pool.deploy() / "broken").write_text("no")
    pool.start()
    pool.wait(lambda row: row is not None and row.restarts == 2 and row.state is S.FAILED, "failed twice")
    assert 1 < pool.row().next_start_at - time.time() <= 2


def test_it_starts_nothing_where_files_are_missing(pool, tmp_path):
    pool.deploy(model_path=tmp_path / "nowhere")
    pool.start()
    assert "it has no config.json" in pool.wait_until(S.FAILED).reason
    assert pool.row().life is None


def test_it_refuses_flags_that_are_not_a_deployments_to_set(pool):
    pool.deploy(flags=("--host=0.0.0.0",))
    pool.start()
    assert "--host" in pool.wait_until(S.FAILED).reason


def test_it_says_that_devices_are_missing(pool):
    pool.deploy(devices_each=3)
    pool.start()
    assert pool.wait_until(S.FAILED).reason.startswith("not enough devices: it needs 3; 2 here")


def test_it_finds_a_hung_engine_whose_health_is_fine(pool):
    model = pool.deploy()
    pool.start()
    life = pool.wait_until(S.READY).life
    (model / "hang").touch()
    failed = pool.wait_until(S.FAILED, timeout_s=8)
    assert failed.reason.startswith("hung")
    assert "draining" in pool.states()
    assert not is_alive(life.pid, life.pid_started)


def test_one_on_processors_that_computes_without_a_token_gets_longer_but_not_for_ever(make_pool):
    pool = make_pool(at_work_timeout_s=8)
    model = pool.deploy()
    (model / "busy").touch()
    pool.start()
    pool.wait_until(S.READY)
    (model / "hang").touch()
    hung_at = time.monotonic()
    failed = pool.wait_until(S.FAILED)
    assert time.monotonic() - hung_at > 8, "without its work it would be found in little more than two seconds"
    assert failed.reason.startswith("hung")


def test_it_does_not_take_a_busy_engine_for_a_hung_one(pool):
    model = pool.deploy()
    pool.start()
    life = pool.wait_until(S.READY).life
    (model / "slow").touch()
    time.sleep(5)
    assert pool.row().state is S.READY
    assert pool.row().life == life
    assert "aborted" in {record.outcome for record in pool.records()}


def test_it_drains_before_it_ends_an_engine(pool):
    pool.deploy()
    pool.start()
    life = pool.wait_until(S.READY).life
    answers = []

    def ask():
        body = {"max_tokens": 7, "seconds": 2}
        answers.append(EngineClient(life.socket).post("/v1/completions", body, 10, "tenant-request"))

    client = threading.Thread(target=ask)
    client.start()
    time.sleep(0.5)
    pool.deploy(running=False)
    pool.wait_until(S.DRAINING)
    client.join()
    assert answers[0].status == 200
    pool.wait(lambda row: row is None, "its row is gone")
    spent = sum(record.completion_tokens for record in pool.records()) + 7
    assert pool.store._tables.counters[life.id].generation_tokens == spent


def test_it_stops_everything_and_leaves_nothing_behind(pool):
    pool.deploy(replicas=2)
    pool.start()
    pool.wait(lambda _: [row.state for row in pool.store.replicas()] == [S.READY] * 2, "two are ready")
    with pool.store.open() as tables:
        tables.stop = True
    pool.wait(lambda _: pool.has_returned(), "the pool has returned", timeout_s=12)
    assert pool.store.replicas() == []
    assert list(pool.settings.run_dir.glob("replicas/*")) == []


@pytest.mark.parametrize("fault", ["deaf", "hang"])
def test_it_stops_within_bounds_what_does_not_want_to_end(make_pool, fault):
    pool = make_pool(stop_drain_s=1, stop_grace_s=1, canary_timeout_s=30)
    model = pool.deploy()
    pool.start()
    life = pool.wait_until(S.READY).life
    (model / fault).touch()
    time.sleep(0.6)
    begun = time.monotonic()
    with pool.store.open() as tables:
        tables.stop = True
    pool.wait(lambda _: pool.has_returned(), "the pool has returned", timeout_s=25)
    assert time.monotonic() - begun < 20
    assert not is_alive(life.pid, life.pid_started)


def test_it_serves_on_while_the_store_is_away(pool):
    pool.deploy()
    pool.start()
    life = pool.wait_until(S.READY).life
    whole = pool.store.open
    pool.store.open = _refuse
    time.sleep(1.5)
    pool.store.open = whole
    time.sleep(1.5)
    assert pool.row().life == life
    assert pool.row().state is S.READY


def test_it_records_a_death_that_came_while_the_store_was_away(pool):
    pool.deploy()
    pool.start()
    life = pool.wait_until(S.READY).life
    whole = pool.store.open
    pool.store.open = _refuse
    os.kill(life.pid, signal.SIGKILL)
    time.sleep(1.5)
    pool.store.open = whole
    pool.wait(lambda row: row.state is S.READY and row.life != life, "ready with a new life")
    assert "was killed by SIGKILL" in pool.store._tables.ended[life.id]


def test_it_ends_an_engine_whose_row_is_gone(pool):
    pool.deploy()
    pool.start()
    life = pool.wait_until(S.READY).life
    with pool.store.open() as tables:
        tables.rows.clear()
    deadline = time.monotonic() + 10
    while is_alive(life.pid, life.pid_started):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _refuse():
    raise ConnectionError("the database is away")


class IllCpu:
    """The CPU as two devices, of which some are reported ill; `hangs` as long as its lock is held."""

    def __init__(self) -> None:
        self.ill = set()
        self.can_read = threading.Lock()
        self._probe = open_probe("cpu", 2)

    def read(self):
        with self.can_read:
            devices = self._probe.read()
        return [replace(d, healthy=False, reason="XID 79") if d.id in self.ill else d for d in devices]


def test_it_moves_a_replica_off_a_device_that_fell_ill(make_pool):
    pool = make_pool(devices_s=0.2)
    probe = IllCpu()
    pool.deploy()
    pool.start(probe)
    life = pool.wait_until(S.READY).life
    probe.ill = {"cpu:0"}
    moved = pool.wait(lambda row: row is not None and row.state is S.READY and row.life != life, "ready elsewhere")
    assert moved.devices == ("cpu:1",)
    with pool.store.open() as tables:
        assert "device cpu:0 is not healthy: XID 79" in [
            reason for _, state, reason in tables.moves if state is S.DRAINING
        ]
    probe.ill = {"cpu:0", "cpu:1"}
    failed = pool.wait(lambda row: row is not None and row.state is S.FAILED, "nowhere to go")
    assert "cpu:1 is not healthy: XID 79" in failed.reason
    probe.ill = set()
    assert pool.wait_until(S.READY).devices == ("cpu:0",)


def test_it_takes_nothing_from_engines_before_the_devices_could_be_read(make_pool):
    pool = make_pool(devices_s=0.2, tick_s=0.05)
    probe = IllCpu()
    pool.deploy()
    pool.start(probe)
    life = pool.wait_until(S.READY).life
    pool.leave()
    probe.can_read.acquire()
    before = len(pool.states())
    pool.start(probe)
    wait_until(lambda: any(thread.name == f"keeper-{life.id[:8]}" for thread in threading.enumerate()))
    time.sleep(0.3)  # several looks at everything: nothing can be waited for that must not come
    assert len(pool.states()) == before
    probe.can_read.release()
    wait_until(lambda: pool.store._tables.devices)
    assert pool.row().life == life


def test_an_engine_that_dies_soon_after_it_is_ready_counts_on_until_it_has_served_for_a_while(make_pool):
    pool = make_pool(settled_s=3.0)
    pool.deploy()
    pool.start()
    for failures in (1, 2):
        os.kill(pool.wait_until(S.READY).life.pid, signal.SIGKILL)
        pool.wait(lambda row, n=failures: row.restarts == n and row.state is S.FAILED, f"failed {failures} times")
    assert pool.wait_until(S.READY).restarts == 2
    settled = pool.wait(lambda row: row.restarts == 0, "its failures are forgotten")
    assert (settled.state, settled.next_start_at) == (S.READY, None)
