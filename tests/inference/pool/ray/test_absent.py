"""A cluster that is not there: what is on this machine serves all the same, and what was to run elsewhere says why not."""

import time

import msgspec
import pytest

from inference.devices import DeviceInfo
from inference.pool.backoff import delay_s
from inference.pool.process import is_alive
from inference.pool.states import ReplicaState
from tests.inference.pool.ray.conftest import RayPool
from tests.inference.pool.table_store import TableStore

NOBODY = "127.0.0.1:1"


@pytest.fixture
def alone(tmp_path, tmp_path_factory):
    """A pool that saw two machines once, under an address where nobody listens."""
    run_folder = tmp_path_factory.mktemp("r")
    seen = [DeviceInfo("box-b/cpu:0", "cpu", "CPU", 2**30)]
    (run_folder / "ray-devices.json").write_bytes(msgspec.json.encode(seen))
    pool = RayPool(tmp_path, run_folder, TableStore(), NOBODY)
    yield pool
    pool.close()


def test_it_says_why_and_backs_off_while_this_machine_serves(alone, caplog):
    alone.deploy("near", pinned=("cpu:0",))
    alone.deploy("far", pinned=("box-b/cpu:0",))
    alone.begin()
    near = alone.wait_until(ReplicaState.READY, "near")
    failed = alone.wait(lambda row: row is not None and row.restarts >= 2 and row.life is None, "failed twice", "far")
    assert "box-b: " in failed.reason
    assert NOBODY in failed.reason or "Ray is not installed" in failed.reason
    assert failed.next_start_at - time.time() <= delay_s(failed.restarts)
    told = [record.message for record in caplog.records if record.message.startswith("the Ray cluster: ")]
    assert len(told) == 1, "once, and not with every reading"
    assert alone.row("near").life == near.life
    assert is_alive(near.life.pid, near.life.pid_started)
