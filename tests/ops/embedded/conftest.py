"""Short directories that everybody may enter, and servers that end with the test."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.cli.specs import socket_answers
from ops.embedded.postgres import Cluster

Serve = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """Below pytest's own directory only root could walk; the embedded PostgreSQL runs as somebody else."""
    path = Path(tempfile.mkdtemp(prefix="coderack-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def serve(open_dir: Path) -> Iterator[Serve]:
    """Start a server and wait for its socket."""
    running: list[subprocess.Popen[bytes]] = []

    def start(argv: list[str], socket: Path, cluster: Cluster | None = None) -> subprocess.Popen[bytes]:
        user, group = (cluster.user, cluster.group) if cluster else (None, None)
        with (open_dir / "server.log").open("ab") as log:
            process = subprocess.Popen(
                argv, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=user, group=group,
                extra_groups=None if user is None else [],
            )  # fmt: skip
        running.append(process)
        deadline = time.monotonic() + 30
        while not socket_answers(socket)():
            assert process.poll() is None, (open_dir / "server.log").read_text()
            assert time.monotonic() < deadline, (open_dir / "server.log").read_text()
            time.sleep(0.02)
        return process

    yield start
    for process in running:
        process.terminate()
    for process in running:
        process.wait(30)
