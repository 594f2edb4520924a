"""What a process and its children use, against processes that really use it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from inference.metrics.family import ProcessFamily
from tests.waiting import wait_until

# A master whose child works for a moment and is then buried.
MASTER = """
import os, sys, time
child = os.fork()
if not child:
    end = time.process_time() + 0.4
    while time.process_time() < end: pass
    sys.stdin.readline()
    os._exit(0)
os.wait()
print("buried", flush=True)
time.sleep(60)
"""


def figures(family: ProcessFamily) -> dict[str, float]:
    return {sample.name: sample.value for metric in family.collect() for sample in metric.samples}


@pytest.fixture
def master() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", MASTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def test_it_counts_children_and_keeps_what_buried_ones_used(master: subprocess.Popen[str]) -> None:
    assert master.stdin is not None
    assert master.stdout is not None
    with_child, alone = ProcessFamily(master.pid), ProcessFamily(master.pid, children=False)
    wait_until(lambda: figures(with_child)["process_cpu_seconds_total"] >= 0.4)
    before = figures(with_child)
    assert figures(alone)["process_cpu_seconds_total"] < before["process_cpu_seconds_total"]
    assert figures(alone)["process_resident_memory_bytes"] < before["process_resident_memory_bytes"]
    master.stdin.write("end\n")
    master.stdin.flush()
    assert master.stdout.readline() == "buried\n"
    after = figures(with_child)
    assert after["process_cpu_seconds_total"] >= before["process_cpu_seconds_total"]
    assert after["process_resident_memory_bytes"] < before["process_resident_memory_bytes"]


def test_it_knows_this_process() -> None:
    mine = figures(ProcessFamily(os.getpid(), children=False))
    assert mine["process_open_fds"] >= 3
    assert mine["process_resident_memory_bytes"] > 1 << 20
    assert 0 < time.time() - mine["process_start_time_seconds"] < 24 * 3600


def test_a_process_that_has_ended_uses_nothing() -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    assert set(figures(ProcessFamily(int(gone.stdout))).values()) == {0.0}
