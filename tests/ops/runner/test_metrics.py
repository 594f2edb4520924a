"""The runner's figures against real children."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.registry import Collector

from ops.runner.metrics import Children, Disks
from ops.runner.processes import ProcessSpec
from ops.runner.runner import Runner


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    it = Runner(tmp_path, lambda line: None)
    yield it
    it.stop_all()
    it.close()


def figures(collector: Collector) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }


def test_a_killed_child_is_down_at_once_and_counted_when_it_is_started_again(runner: Runner, tmp_path: Path) -> None:
    for name in ("steady", "killed"):
        runner.start(ProcessSpec(name, ("/bin/sleep", "60"), {}, tmp_path / f"{name}.log", tmp_path))
    children = Children(runner.children)
    killed = runner.children[1].pid
    assert killed is not None
    assert figures(children)["coderack_runner_child_up", "killed"] == 1
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while figures(children)["coderack_runner_child_up", "killed"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert figures(children)["coderack_runner_child_up", "killed"] == 0  # before the runner has looked
    while runner.children[1].pid in (None, killed) and time.monotonic() < deadline:
        runner.watch()
        time.sleep(0.02)
    after = figures(children)
    assert after["coderack_runner_child_up", "killed"] == 1
    assert after["coderack_runner_restarts_total", "killed"] == 1
    assert after["coderack_runner_restarts_total", "steady"] == 0


def test_it_shows_the_disks_that_are_there(tmp_path: Path) -> None:
    found = figures(Disks({"data": tmp_path, "cache": tmp_path / "absent"}))
    assert 0 < found["coderack_disk_free_bytes", "data"] <= found["coderack_disk_size_bytes", "data"]
    assert ("coderack_disk_free_bytes", "cache") not in found
