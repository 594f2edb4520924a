"""A Ray cluster of two nodes that are both this machine, and pools whose engines run there."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from inference.devices.info import box_of
from inference.engines import engine_kind
from inference.pool.run import _launcher_and_probe
from inference.pool.settings import RaySettings
from tests.inference.gateway.conftest import gateway_root, postgres, redis_server, rig  # noqa: F401 - fixtures
from tests.inference.pool.adapter_dirs import make_base, seal
from tests.inference.pool.conftest import Pool
from tests.inference.pool.fake_slot import make_model
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
    yield from _a_cluster()


@pytest.fixture
def doomed_cluster():
    """One that a test may end."""
    yield from _a_cluster()


def _a_cluster():
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


class RayPool(Pool):
    """Its models have manifests, and its engines Ray's machines."""

    def __init__(self, folder, run_folder, store, address) -> None:
        super().__init__(folder, run_folder, store, canary_timeout_s=20.0, devices_s=0.5)
        self.settings = replace(self.settings, ray=RaySettings(address, NODES))
        self.launcher, self.probe = _launcher_and_probe(self.settings, engine_kind("vllm"))

    def see(self, nodes=NODES) -> None:
        """Wait until these nodes tell their devices."""
        wait_until(lambda: {box_of(device.id) for device in self.probe.read()} - {""} == set(nodes), timeout_s=120)

    def begin(self) -> None:
        self.start(self.probe, self.launcher)

    def deploy(self, name="lite", **more):
        model = make_base(more.pop("model_path", None) or make_model(self.folder / "models" / name))
        return super().deploy(name, model_path=model, model_digest=seal(model), **more)

    def engines(self) -> dict[str, int]:
        """The pids of engines on the nodes, by their lives' short ids, as node processes noted them."""
        notes = (self.settings.run_dir / "nodes").glob("*.pid")
        return {note.stem: json.loads(note.read_text())["pid"] for note in notes}

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            self.probe.close()


@pytest.fixture
def ray_pool(cluster, tmp_path, tmp_path_factory):
    """Its engines are on the nodes only."""
    pool = RayPool(tmp_path, tmp_path_factory.mktemp("r"), TableStore(), cluster.address)
    pool.probe = Elsewhere(pool.probe)
    try:
        pool.see()
        yield pool
    finally:
        pool.close()
