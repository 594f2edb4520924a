"""Engines on the nodes of a real Ray cluster: started, reached through the gateway, killed, and their node with them."""

import json
import os
import signal
import sys
import threading
import time

import pytest

from inference.pool.engine_client import EngineClient
from inference.pool.errors import EngineUnreachable
from inference.pool.process import is_alive, kill_session
from inference.pool.states import ReplicaState
from inference.pool.store import ReplicaRow
from tests.inference.pool.fake_slot import make_model
from tests.inference.pool.ray.conftest import ROOT
from tests.waiting import wait_until

pytestmark = pytest.mark.ray
S = ReplicaState
WAIT_S = 150  # a cluster on two busy cores

# The engine that streams, as a program in a slot.
STREAMING = f"""#!{sys.executable} -I
import sys, threading
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.fakes.engine import FakeEngine
FakeEngine(Path(sys.argv[sys.argv.index("--uds") + 1])).start()
threading.Event().wait()
"""


def test_engines_live_on_both_nodes_and_end_as_they_are_ended(ray_pool):
    ray_pool.deploy(replicas=2, placement="spread")
    ray_pool.begin()
    lives = {row.devices[0]: row.life for row in ready(ray_pool, 2)}
    assert {device.partition("/")[0] for device in lives} == {"box-a", "box-b"}

    ray_pool.leave()  # the next pool adopts what the last one left
    ray_pool.begin()
    time.sleep(1)
    assert {row.devices[0]: row.life for row in ready(ray_pool, 2)} == lives

    broken = f"#!{sys.executable} -I\nraise ValueError('no such flag')\n"
    (ray_pool.folder / "slot" / "python").write_text(broken)
    pid = ray_pool.engines()[lives["box-b/cpu:0"].id[:8]]
    begun = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    of_b = next(row.index for row in ray_pool.store.replicas() if row.devices[0].startswith("box-b"))
    failed = wait_until(lambda: (row := ray_pool.row(index=of_b)).state is S.FAILED and row, timeout_s=20)
    assert time.monotonic() - begun < 10
    assert "the engine was killed by SIGKILL" in failed.reason
    why = wait_until(lambda: (row := ray_pool.row(index=of_b)).restarts > 1 and row.reason, timeout_s=WAIT_S)
    assert "ValueError: no such flag" in why

    with ray_pool.store.open() as tables:
        tables.stop = True
    wait_until(ray_pool.has_returned, timeout_s=WAIT_S)
    wait_until(lambda: not ray_pool.engines())
    assert ray_pool.store.replicas() == []


def test_a_stream_through_the_gateway_ends_with_one_error_when_its_node_dies(ray_pool, cluster, rig):
    launched = launch(ray_pool, "box-b")
    life = launched.life
    try:
        wait_until(lambda: answers(life), timeout_s=WAIT_S, log=life.log)
        rig.postgres.execute(
            "INSERT INTO gateway_replicas VALUES ('far', %s, 'deepseek-away', %s, NULL)", life.id, str(life.socket)
        )
        rig.wait_for_directory()
        whole = rig.call("POST", "/v1/chat/completions", rig.chat("tokens=5", model="deepseek-away", stream=True))[2]
        assert whole.endswith(b"data: [DONE]\n\n")
        assert b'"error"' not in whole

        connection = rig.connect(timeout=60)
        body = json.dumps(rig.chat("tokens=2000 delay=0.05", model="deepseek-away", stream=True, max_tokens=2000))
        connection.request("POST", "/v1/chat/completions", body, {"authorization": "Bearer sk-owner"})
        response = connection.getresponse()
        assert response.status == 200
        assert response.readline().startswith(b"data: ")
        cluster.do("kill", "box-b")
        events = [line for line in response.read().split(b"\n") if line.startswith(b"data: ")]
        connection.close()
        assert sum(b'"error"' in event for event in events) == 1
        wait_until(lambda: not is_alive(life.pid, life.pid_started))
        assert "box-b is lost" in life.log.read_text()
    finally:
        kill_session(life.pid, life.pid_started)
        cluster.do("add", "box-b")


def test_what_is_not_there_is_refused_before_anything_starts(ray_pool):
    launched = launch(ray_pool, "box-a", slot_python=ray_pool.folder / "slot" / "none")
    try:
        wait_until(lambda: not is_alive(launched.life.pid, launched.life.pid_started), timeout_s=WAIT_S)
        assert "box-a: no engine slot there" in launched.life.log.read_text()
    finally:
        kill_session(launched.life.pid, launched.life.pid_started)


def test_a_model_whose_bytes_differ_there_is_not_served(ray_pool):
    launched = launch(ray_pool, "box-a")
    try:
        wait_until(lambda: answers(launched.life), timeout_s=WAIT_S, log=launched.life.log)
        assert "the model's files are the registered ones (2 of them read)" in launched.life.log.read_text()
    finally:
        kill_session(launched.life.pid, launched.life.pid_started)
    weights = ray_pool.folder / "models" / "far" / "model.safetensors"
    content, before = weights.read_bytes(), weights.stat()
    weights.write_bytes(content[:-1] + b"x")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    launched = launch(ray_pool, "box-a", deployed=True)
    try:
        wait_until(lambda: not is_alive(launched.life.pid, launched.life.pid_started), timeout_s=WAIT_S)
        assert "model.safetensors was changed" in launched.life.log.read_text()
    finally:
        kill_session(launched.life.pid, launched.life.pid_started)
    assert ray_pool.engines() == {}


def launch(pool, box, **more):
    """An engine that streams, on a node, without a keeper."""
    slot = pool.folder / "slot" / "streaming"
    slot.parent.mkdir(parents=True, exist_ok=True)
    slot.write_text(STREAMING)
    slot.chmod(0o755)
    if not more.get("deployed"):
        pool.deploy(model_path=make_model(pool.folder / "models" / "far"), slot_python=more.get("slot_python", slot))
    deployment = pool.store.desired()[0]
    devices = tuple(device for device in pool.probe.read() if device.id == f"{box}/cpu:0")
    assert devices, f"{box} has no device"
    row = ReplicaRow("r", deployment.id, 0, S.STARTING, "", (devices[0].id,), None, 0, None)
    launched = pool.launcher.launch(deployment, row, devices)
    launched.release()
    threading.Thread(target=os.waitpid, args=(launched.life.pid, 0), daemon=True).start()
    return launched


def answers(life):
    """Whether the engine over there is up."""
    try:
        return EngineClient(life.socket).get("/v1/models", 5.0).status == 200
    except EngineUnreachable:
        return False


def ready(pool, count):
    """All replicas, once they are."""

    def look():
        rows = pool.store.replicas()
        pool.row()  # noted, so that the fixture ends it
        return len(rows) == count and all(row.state is S.READY for row in rows) and rows

    return wait_until(look, timeout_s=WAIT_S)
