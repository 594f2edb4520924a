"""The runner's figures for Prometheus: its children, and the room on the disks they write to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ops.runner.processes import Child


class Children(Collector):
    """Whether each process runs and how often it was started again."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children

    def collect(self) -> Iterator[Metric]:
        """prometheus_client: the figures."""
        up = GaugeMetricFamily("coderack_runner_child_up", "1 while it runs.", labels=["child"])
        restarts = CounterMetricFamily("coderack_runner_restarts", "Starts after an end.", labels=["child"])
        for child in list(self._children):
            up.add_metric([child.spec.name], float(child.is_running))
            restarts.add_metric([child.spec.name], child.restarts)
        yield from (up, restarts)


class Disks(Collector):
    """Size and free room of the disk below each directory, by the directory's role."""

    def __init__(self, directories: Mapping[str, Path]) -> None:
        self._directories = directories

    def collect(self) -> Iterator[Metric]:
        """prometheus_client: the figures."""
        size = GaugeMetricFamily("coderack_disk_size_bytes", "Size of the disk.", labels=["directory"])
        free = GaugeMetricFamily("coderack_disk_free_bytes", "What is free on it.", labels=["directory"])
        for role, directory in self._directories.items():
            try:
                usage = shutil.disk_usage(directory)
            except OSError:
                continue  # no figure is better than a wrong one
            size.add_metric([role], usage.total)
            free.add_metric([role], usage.free)
        yield from (size, free)
