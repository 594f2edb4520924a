"""What a process and its children use, read from /proc: the figures of a master with workers as those of one process.

prometheus_client's own process figures are of the process that answers, which of several workers is a different one each time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ProcessFamily(Collector):
    """Processor time, memory and open files of a process and its children, under the names every client library uses."""

    def __init__(self, master: int, *, children: bool = True) -> None:
        self._master = master
        self._with_children = children

    def collect(self) -> Iterator[Metric]:
        """prometheus_client: the figures."""
        pids = [self._master, *(_children(self._master) if self._with_children else [])]
        stats = [stat for stat in map(_stat, pids) if stat]
        # The master's time includes that of children it has buried (fields 16, 17), so that the sum never falls.
        ticks = sum(int(stat[11]) + int(stat[12]) for stat in stats)
        ticks += int(stats[0][13]) + int(stats[0][14]) if stats and self._with_children else 0
        yield CounterMetricFamily("process_cpu_seconds", "Processor time used.", value=ticks / _TICKS_PER_S)
        resident = sum(int(stat[21]) for stat in stats) * _PAGE_BYTES
        yield GaugeMetricFamily("process_resident_memory_bytes", "Memory held; shared pages count each time.", resident)
        yield GaugeMetricFamily("process_open_fds", "Open files and sockets.", sum(map(_num_files, pids)))
        started = _boot_time() + int(stats[0][19]) / _TICKS_PER_S if stats else 0.0
        yield GaugeMetricFamily("process_start_time_seconds", "When it started, Unix time.", started)


def _stat(pid: int) -> list[str]:
    """/proc/<pid>/stat from its third field on; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _num_files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def _boot_time() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
