"""A Ray cluster of two nodes that are both this machine, and pools whose engines run there."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.pool.run import _launcher_and_probe
from inference.engines import engine_kind
from inference.pool.settings import RaySettings
from tests.inference.pool.conftest import Pool

ROOT = Path(__file__).parents[4]


class Cluster:
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
        assert self.address, "the Ray cluster did not start"

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="session")
def cluster():
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install --require-hashes -r requirements/ray.lock")
    made = Cluster()
    made.do("add", "box-a")
    made.do("add", "box-b")
    yield made
    made.close()


class RayPool(Pool):
    """Its own machine has no devices; the cluster's two nodes have."""

    def start_on(self, address: str, nodes: tuple[str, ...]) -> None:
        ray = RaySettings(address, nodes)
        settings = replace_settings(self.settings, ray)
        launcher, probe = _launcher_and_probe(settings, engine_kind("vllm"))
        self.start(probe, launcher)
