"""One running appliance for the whole session: real PostgreSQL, Redis, gateway, pool and vLLM; two tenants and a stranger."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.models.tiny_deepseek.model import NAME as TINY_DEEPSEEK
from ops.models.tiny_deepseek.model import ensure_tiny_deepseek
from tests.system.appliance import CACHE_DIR, Appliance, free_port
from tests.system.chromium import browser, page

__all__ = ["browser", "page"]  # fixtures for every test here
START_TIMEOUT_S = 900


@dataclass(frozen=True)
class Cast:
    """Keys of two tenants; the stranger has none that works."""

    alpha: str
    beta: str
    stranger: str = "sk-cr-nobody-knows-this-key"


@pytest.fixture(scope="session")
def appliance() -> Iterator[Appliance]:
    """`coderack start` as a user runs it, with the DeepSeek-V2-shaped model served beside the demo model."""
    if "RUNNING_APPLIANCE" in os.environ:  # "<data directory>:<port>" of one that is up, for the inner loop
        data_dir_text, port = os.environ["RUNNING_APPLIANCE"].rsplit(":", 1)
        yield Appliance(Path(data_dir_text), int(port))
        return
    # not below pytest's own directory, which it closes to the embedded PostgreSQL's user
    data_dir = Path(tempfile.mkdtemp(prefix="coderack-test-"))
    data_dir.chmod(0o755)
    running = Appliance(data_dir, free_port(), {"CODERACK_DEVICES": "cpu:4"})
    started = running.cli("start", timeout_s=START_TIMEOUT_S)
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        yield running
    finally:
        stopped = running.cli("stop", timeout_s=60)
        keep_logs(running)
        shutil.rmtree(data_dir)
        shutil.rmtree(running.env.run_dir, ignore_errors=True)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr


def keep_logs(running: Appliance) -> None:
    """Leave the last run's logs where a person finds them."""
    target = CACHE_DIR / "last-test-logs"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(running.env.log_dir, target)


@pytest.fixture(scope="session")
def deepseek(appliance: Appliance) -> str:
    """The tiny model of DeepSeek-V2's own architecture, served by the same appliance; its name."""
    path = ensure_tiny_deepseek(CACHE_DIR, slot_python(appliance))
    added = appliance.cli("model", "add", str(path), "--name", TINY_DEEPSEEK, "--max-model-len", "2048", "--fim")
    assert added.returncode == 0, added.stderr
    served = appliance.cli("model", "serve", TINY_DEEPSEEK, "--flag=--max-num-seqs=16")
    assert served.returncode == 0, served.stderr
    appliance.wait_ready(TINY_DEEPSEEK)
    return TINY_DEEPSEEK


def slot_python(appliance: Appliance) -> Path:
    """The interpreter of the engine slot the appliance registered."""
    return Path(appliance.sql("SELECT path FROM registry_engineslot")[0][0]) / "bin" / "python"


@pytest.fixture(scope="session")
def cast(appliance: Appliance) -> Cast:
    """Two tenants with a key each."""
    return Cast(appliance.new_tenant("alpha"), appliance.new_tenant("beta"))
