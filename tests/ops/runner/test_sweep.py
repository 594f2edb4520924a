"""Engines that nobody knows any more are found by their socket's place, and only those."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.runner.sweep import end_engines, engines_of

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that looks like an engine with this socket."""
    running: list[subprocess.Popen[bytes]] = []

    def one(socket: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)", "--uds", socket]
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield one
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_it_ends_the_engines_of_its_run_directory(start: Start, tmp_path: Path) -> None:
    ours = start(f"{tmp_path}/replicas/0a0b0c0d.sock")
    assert engines_of(tmp_path) == [ours.pid]
    assert end_engines(tmp_path) == 1
    assert ours.wait(20) == -9
    assert end_engines(tmp_path) == 0


def test_it_leaves_the_engines_of_another_appliance_alone(start: Start, tmp_path: Path) -> None:
    theirs = start(f"{tmp_path}-other/replicas/0a0b0c0d.sock")
    assert end_engines(tmp_path) == 0
    assert theirs.poll() is None
