"""What is killed beside engines on other nodes: their pool, their node, the whole cluster."""

import subprocess
import sys
import time

import pytest

from inference.pool.backoff import delay_s
from inference.pool.process import is_alive, kill_session
from inference.pool.states import ReplicaState
from ops.runner.sweep import engines_of
from tests.inference.pool.ray.conftest import NODES, ROOT, RayPool
from tests.inference.pool.table_store import TableStore
from tests.waiting import wait_until

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(900)]
S = ReplicaState
WAIT_S = 300


@pytest.fixture
def shared(cluster, tmp_path, tmp_path_factory):
    """A pool whose rows lie in a file, for pools that are processes of their own."""
    pool = RayPool(tmp_path, tmp_path_factory.mktemp("r"), TableStore(tmp_path / "store"), cluster.address)
    try:
        pool.see()
        yield pool
    finally:
        pool.close()


@pytest.fixture
def run_pool(shared, cluster):
    """Starts a pool as a process; those that are left are killed."""
    started = []

    def run():
        where = (str(shared.folder), str(shared.settings.run_dir), cluster.address, *NODES)
        started.append(subprocess.Popen([sys.executable, "-m", "tests.inference.pool.pool_process", *where], cwd=ROOT))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def ready(pool, *lives):
    """The replicas by their index, once they are ready with other lives than these."""

    def look():
        rows = {row.index: row for row in pool.store.replicas()}
        for index in rows:
            pool.row(index=index)  # noted, so that the fixture ends it
        good = [row for row in rows.values() if row.state is S.READY and row.life not in lives]
        return len(good) == pool.store.desired()[0].replicas and rows

    return wait_until(look, timeout_s=WAIT_S)


def test_the_next_pool_adopts_engines_on_the_nodes_and_leaves_none_behind(shared, run_pool):
    shared.deploy(replicas=2, pinned=("box-a/cpu:0", "box-b/cpu:0"))
    first = run_pool()
    wait_until(lambda: len([row for row in shared.store.replicas() if row.life]) == 2, timeout_s=WAIT_S)
    first.kill()  # while Ray still places them
    first.wait()
    run_pool_again = run_pool()
    lives = {index: row.life for index, row in ready(shared).items()}
    engines = shared.engines()
    assert set(engines) == {life.id[:8] for life in lives.values()}

    run_pool_again.kill()  # while they serve
    run_pool_again.wait()
    kill_session(lives[1].pid, lives[1].pid_started)  # and one ends with nobody there to see it
    wait_until(lambda: set(shared.engines()) == {lives[0].id[:8]}, timeout_s=WAIT_S)
    third = run_pool()
    after = ready(shared, lives[1])
    assert after[0].life == lives[0]
    assert shared.engines()[lives[0].id[:8]] == engines[lives[0].id[:8]]

    third.kill()
    third.wait()
    with shared.store.open() as tables:
        tables.stop = True
    assert run_pool().wait(timeout=WAIT_S) == 0
    assert shared.store.replicas() == []
    wait_until(lambda: not shared.engines())
    assert engines_of(shared.settings.run_dir) == []


def test_a_replica_of_a_node_that_is_killed_comes_up_on_the_other(ray_pool, cluster):
    ray_pool.deploy(replicas=2, placement="spread")
    ray_pool.begin()
    before = {row.devices[0].partition("/")[0]: row for row in ready(ray_pool).values()}
    assert set(before) == {"box-a", "box-b"}
    lost = before["box-b"]
    try:
        cluster.do("kill", "box-b")
        moved = ready(ray_pool, lost.life)
        assert moved[before["box-a"].index].life == before["box-a"].life
        assert moved[lost.index].devices[0].startswith("box-a/")
        assert not is_alive(lost.life.pid, lost.life.pid_started)
        with ray_pool.store.open() as tables:
            assert "box-b is lost" in tables.ended[lost.life.id]
            states = [state for row, state, _ in tables.moves if row == before["box-a"].id]
        assert states[-1] == S.READY
        assert S.DRAINING not in states
        assert len(ray_pool.engines()) == 2
    finally:
        cluster.do("add", "box-b")


def test_a_cluster_that_goes_away_takes_its_own_engines_only(doomed_cluster, tmp_path, tmp_path_factory, caplog):
    pool = RayPool(tmp_path, tmp_path_factory.mktemp("r"), TableStore(), doomed_cluster.address)
    try:
        pool.see()
        pool.deploy("near", pinned=("cpu:0",))
        pool.deploy("far", pinned=("box-b/cpu:0",))
        pool.begin()
        near, far = (pool.wait_until(S.READY, name, WAIT_S) for name in ("near", "far"))
        doomed_cluster.do("kill", "box-a")  # the head
        wait_until(lambda: "the Ray cluster: " in caplog.text, timeout_s=WAIT_S)
        doomed_cluster.do("kill", "box-b")
        failed = pool.wait(lambda row: row.restarts >= 2 and row.life is None, "far failed twice", "far", WAIT_S)
        assert "box-b" in failed.reason
        assert doomed_cluster_is_named(failed.reason, pool)
        assert failed.next_start_at - time.time() <= delay_s(failed.restarts)
        assert failed.devices == ("box-b/cpu:0",), "as it was last seen"
        assert not is_alive(far.life.pid, far.life.pid_started)
        assert pool.row("near").life == near.life
        assert pool.row("near").state is S.READY
        with pool.store.open() as tables:
            assert [state for row, state, _ in tables.moves if row == near.id][-1] == S.READY
    finally:
        pool.close()


def doomed_cluster_is_named(reason, pool):
    """Whether it says which cluster is missed, and where it was."""
    return f"no Ray cluster at {pool.settings.ray.address}" in reason
