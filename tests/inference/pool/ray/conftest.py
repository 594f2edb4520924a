"""A Ray cluster of two nodes that are both this machine, and pools whose engines run there."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from inference.engines import engine_kind
from inference.pool.run import _launcher_and_probe
from inference.pool.settings import RaySettings
from tests.inference.gateway.conftest import gateway_root, postgres, redis_server, rig  # noqa: F401 - fixtures
from tests.inference.pool.conftest import Pool
from tests.inference.pool.table_store import TableStore
from tests.waiting import wait_until

ROOT = Path(__file__).parents[4]
NODES = ("box-a", "box-b")


class Cluster:
    """Nodes by name; each `do` returns once it is done."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.inference.pool.ray.cluster_process"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = ""

    def do(self, verb: str, name: str) -> None:
        self._process.stdin.write(f"{verb} {name}\n")
        self._process.stdin.flush()
        self.address = self._process.stdout.readline().strip()
        assert self.address, "the Ray cluster did not do it"

    def close(self) -> None:
        self._process.communicate(timeout=120)


@pytest.fixture(scope="module")
def cluster():
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install --require-hashes -r requirements/ray.lock")
    made = Cluster()
    try:
        for name in NODES:
            made.do("add", name)
        yield made
    finally:
        made.close()


class Elsewhere:
    """Leaves this machine's own devices out, so that engines start on the others."""

    def __init__(self, probe) -> None:
        self._probe = probe

    def read(self):
        return [device for device in self._probe.read() if "/" in device.id]

    def close(self) -> None:
        self._probe.close()


@pytest.fixture
def ray_pool(cluster, tmp_path, tmp_path_factory):
    pool = Pool(tmp_path, tmp_path_factory.mktemp("r"), TableStore(), canary_timeout_s=20.0, devices_s=0.5)
    pool.settings = replace(pool.settings, ray=RaySettings(cluster.address, NODES))
    launcher, probe = _launcher_and_probe(pool.settings, engine_kind("vllm"))
    elsewhere = Elsewhere(probe)
    wait_until(lambda: {d.id.partition("/")[0] for d in elsewhere.read()} == set(NODES), timeout_s=120)
    pool.probe, pool.launcher = elsewhere, launcher
    pool.begin = lambda: pool.start(elsewhere, launcher)
    yield pool
    pool.close()
    with contextlib.suppress(OSError):
        elsewhere.close()
