"""What stands here for an engine on another machine, before any cluster is asked."""

from dataclasses import replace

from inference.devices import open_probe
from inference.devices.info import on_box
from inference.engines import engine_kind
from inference.pool.launcher import LocalLauncher
from inference.pool.process import is_alive
from inference.pool.ray.launcher import RayLauncher
from inference.pool.settings import RaySettings
from inference.pool.states import ReplicaState
from inference.pool.store import ReplicaRow
from ops.runner.sweep import end_engines, engines_of
from tests.waiting import wait_until


def test_a_stop_finds_a_tether_that_outlived_its_pool(pool):
    pool.deploy()
    ray = RaySettings("127.0.0.1:1", ())
    settings, kind = replace(pool.settings, ray=ray), engine_kind("vllm")
    devices = tuple(on_box(device, "box-b") for device in open_probe("cpu", 1).read())
    row = ReplicaRow("r", "lite", 0, ReplicaState.STARTING, "", (devices[0].id,), None, 0, None)
    launcher = RayLauncher(settings, ray, kind, LocalLauncher(settings, kind))
    launched = launcher.launch(pool.store.desired()[0], row, devices)
    try:
        assert engines_of(settings.run_dir) == [launched.life.pid]
        assert end_engines(settings.run_dir) == 1
        wait_until(lambda: not is_alive(launched.life.pid, launched.life.pid_started))
    finally:
        launched.abandon()
