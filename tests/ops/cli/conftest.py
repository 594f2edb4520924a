"""An appliance's directories that nothing runs in, and the CLI as a process of its own with exactly these settings."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.env import REPO, Env, load

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def root() -> Iterator[Path]:
    """Short, because sockets lie below it."""
    path = Path(tempfile.mkdtemp(prefix="coderack-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def environment(root: Path, free_port: int) -> dict[str, str]:
    return {
        "CODERACK_DATA_DIR": str(root / "data"),
        "CODERACK_CACHE_DIR": str(root / "cache"),
        "CODERACK_RUN_DIR": str(root / "run"),
        "CODERACK_PORT": str(free_port),
    }


@pytest.fixture
def env(environment: dict[str, str]) -> Env:
    return load(environment)


@pytest.fixture
def cli(environment: dict[str, str]) -> Cli:
    """Run `coderack` as an operator does."""

    def run(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ops.cli.main", *args], env={"PATH": os.environ["PATH"]} | environment | more,
            cwd=REPO, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run
