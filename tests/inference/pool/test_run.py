"""The pool as a process: signals, the lock, adoption after it was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inference.pool.errors import AnotherPoolRuns
from inference.pool.process import is_alive
from inference.pool.run import _sole_pool, run_pool
from inference.pool.states import ReplicaState
from tests.inference.pool.conftest import Pool
from tests.inference.pool.table_store import TableStore

ROOT = Path(__file__).parents[3]


def start_process(folder, run_folder):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.inference.pool.pool_process", str(folder), str(run_folder)],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": "postgresql://secret"},
    )


@pytest.fixture
def shared(tmp_path, tmp_path_factory):
    pool = Pool(tmp_path, tmp_path_factory.mktemp("r"), TableStore(tmp_path / "store"))
    yield pool
    pool.close()


def test_it_survives_the_supervisors_sigkill_and_hears_sigterm(shared):
    shared.deploy()
    first = start_process(shared.folder, shared.settings.run_dir)
    life = shared.wait_until(ReplicaState.READY).life
    assert b"DATABASE_URL" not in Path(f"/proc/{life.pid}/environ").read_bytes()
    first.kill()
    first.wait()
    second = start_process(shared.folder, shared.settings.run_dir)
    time.sleep(3)
    assert shared.row().life == life
    begun = time.monotonic()
    second.send_signal(signal.SIGTERM)
    assert second.wait() == 0
    assert time.monotonic() - begun < 10
    assert is_alive(life.pid, life.pid_started)


def test_it_returns_once_the_stop_is_complete(shared):
    shared.deploy()
    process = start_process(shared.folder, shared.settings.run_dir)
    shared.wait_until(ReplicaState.READY)
    with shared.store.open() as tables:
        tables.stop = True
    assert process.wait(timeout=12) == 0
    assert shared.store.replicas() == []


def test_it_is_alone_on_its_data_directory(shared, monkeypatch):
    monkeypatch.setattr("inference.pool.run._LOCK_WAIT_S", 0.3)
    taken = []
    with _sole_pool(shared.settings), pytest.raises(AnotherPoolRuns):
        run_pool(shared.store, shared.settings, lambda: taken.append("the metrics page's address"))
    assert taken == []
    with _sole_pool(shared.settings):
        pass
