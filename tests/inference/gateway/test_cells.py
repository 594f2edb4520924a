"""Figures added to in memory are what a reader of the files sees, at once and also after the file has grown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram

from inference.gateway.cells import Buckets, Cells

IN_FILES = """
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector
from inference.gateway.cells import Buckets, Cells
own, seen = CollectorRegistry(), CollectorRegistry()
MultiProcessCollector(seen)
asked = Cells(Counter("asked", "-", ["model"], registry=own)).of
running = Cells(Gauge("running", "-", multiprocess_mode="livesum", registry=own)).of
took = Buckets(Histogram("took", "-", ["model"], buckets=(1, 2), registry=own)).of
first = asked("m0")
first(2)
for number in range(2000):
    asked(f"m{number}")(1)
first(4)
running()(3)
running()(-1)
for seconds in (0.5, 1.0, 1.5, 9.0):
    took("m")(seconds)
def figure(name, **labels):
    return seen.get_sample_value(name, labels)
assert figure("asked_total", model="m0") == 7, figure("asked_total", model="m0")
assert figure("asked_total", model="m1999") == 1
assert figure("running") == 2
assert [figure("took_bucket", model="m", le=le) for le in ("1.0", "2.0", "+Inf")] == [2, 3, 4]
assert (figure("took_count", model="m"), figure("took_sum", model="m")) == (4, 12)
"""


def test_a_reader_of_the_files_sees_what_was_added(tmp_path: Path) -> None:
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", IN_FILES], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_without_files_they_count_as_the_library_does() -> None:
    registry = CollectorRegistry()
    counts = Cells(Counter("n", "-", ["kind"], registry=registry)).of
    times = Buckets(Histogram("s", "-", ["kind"], buckets=(1,), registry=registry)).of
    counts("a")(3)
    times("a")(1.0)
    assert registry.get_sample_value("n_total", {"kind": "a"}) == 3
    assert registry.get_sample_value("s_bucket", {"kind": "a", "le": "1.0"}) == 1
