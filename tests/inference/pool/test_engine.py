"""The pool with the real vLLM on the CPU. The tests share one replica and run in order: each start takes half a minute."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from inference.pool.process import is_alive, session_members
from inference.pool.states import ReplicaState
from tests.inference.pool.conftest import Pool
from tests.inference.pool.table_store import TableStore
from tests.inference.pool.test_run import start_process

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

S = ReplicaState
START_S = 300


@pytest.fixture(scope="module")
def served(slot_python, demo_model, tmp_path_factory):
    """A pool process with one real replica, ready."""
    folder = tmp_path_factory.mktemp("pool")
    pool = Pool(folder, tmp_path_factory.mktemp("r"), TableStore(folder / "store"))
    pool.deploy(slot_python=slot_python, model_path=demo_model, max_model_len=2048, flags=("--max-num-seqs", "8"))
    pool.process = start_process(folder, pool.settings.run_dir)
    pool.wait_until(S.READY, timeout_s=START_S)
    yield pool
    pool.process.kill()
    pool.process.wait()
    pool.close()


def listeners():
    """The ports that something listens on, as this machine sees them."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {line[9] for line in lines if line[3] == "0A"}


def sockets_of(pids):
    links = [os.readlink(entry) for pid in pids for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    return set(re.findall(r"socket:\[(\d+)\]", " ".join(links)))


def test_it_serves_without_a_port_that_the_machine_can_see(served):
    life = served.row().life
    members = session_members(life.pid, life.pid_started)
    assert len(members) >= 2
    assert not sockets_of(members) & listeners()
    if "no network isolation" not in life.log.read_text():
        inner = [line.split() for line in Path(f"/proc/{life.pid}/net/dev").read_text().splitlines()[2:]]
        assert [fields[0] for fields in inner] == ["lo:"]


def test_it_is_adopted_after_the_supervisors_sigkill(served):
    life = served.row().life
    served.process.kill()
    served.process.wait()
    served.process = start_process(served.folder, served.settings.run_dir)
    time.sleep(8)
    assert served.row().life == life
    assert served.row().state is S.READY


def test_it_shows_why_a_model_does_not_load_while_the_other_serves(served, slot_python, demo_model):
    broken = served.folder / "broken"
    shutil.copytree(demo_model, broken)
    (broken / "model.safetensors").write_bytes((demo_model / "model.safetensors").read_bytes()[:1000])
    served.deploy("broken", slot_python=slot_python, model_path=broken)
    failed = served.wait_until(S.FAILED, "broken", timeout_s=START_S)
    exit_line, headline, *tail = failed.reason.splitlines()
    assert exit_line == "the engine exited with status 1"
    assert re.match(r"[\w.]+(Error|Exception): ", headline)
    assert len(tail) == 20
    assert served.row().state is S.READY
    served.deploy("broken", slot_python=slot_python, model_path=broken, running=False)
    served.wait(lambda row: row is None, "the broken one is gone", "broken", timeout_s=30)


def test_it_finds_a_hung_engine_core_and_cures_it(served):
    life = served.row().life
    for pid in session_members(life.pid, life.pid_started):
        if pid != life.pid:  # the server itself still answers its health check
            os.kill(pid, signal.SIGSTOP)
    stopped_at = time.monotonic()
    served.wait(lambda row: row.state is not S.READY, "the hang is found", timeout_s=60)
    assert time.monotonic() - stopped_at < 40
    assert served.row().reason.startswith("hung")
    served.wait(lambda row: row.life != life, "its life is over")
    assert not session_members(life.pid, life.pid_started)
    served.wait_until(S.READY, timeout_s=START_S)


def test_it_knows_what_every_token_was_for(served):
    """One life from start to orderly end: the engine's counters are the journal's canaries, to the token."""
    life = served.row().life
    with served.store.open() as tables:
        tables.stop = True
    assert served.process.wait(timeout=15) == 0
    assert not is_alive(life.pid, life.pid_started)
    with served.store.open() as tables:
        counters, tables.stop = tables.counters[life.id], False
    records = [record for record in served.records() if record.life_id == life.id]
    assert counters.generation_tokens == sum(record.completion_tokens for record in records) > 0
    assert counters.prompt_tokens == sum(record.engine_prompt_tokens for record in records)


def test_it_starts_a_killed_engine_anew(served):
    served.process = start_process(served.folder, served.settings.run_dir)
    life = served.wait_until(S.LOADING, timeout_s=20).life
    os.kill(life.pid, signal.SIGKILL)
    served.wait(lambda row: row.life is not None and row.life != life, "a new life", timeout_s=20)
    with served.store.open() as tables:
        assert tables.ended[life.id].startswith("the engine was killed by SIGKILL")
        tables.stop = True
    assert served.process.wait(timeout=15) == 0
    assert subprocess.run(["pgrep", "-s", str(life.pid)], capture_output=True, check=False).stdout == b""
