"""Counters and histograms of the hot path, added to where prometheus_client's files lie in memory.

Its own `inc` takes a lock and asks for the process id each time, which is most of what a figure costs a request. A worker
has one thread that counts and never forks, so that it can add to the mapped double itself; every reader sees it at once,
and a killed worker loses nothing. Who counts a figure through a cell counts it so everywhere.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.mmap_dict import MmapedDict

Add = Callable[[float], None]


def adder(value: Any) -> Add:
    """What adds to one of prometheus_client's values: in its file, or by its own means where it has none."""
    file = getattr(value, "_file", None)
    if not isinstance(file, MmapedDict):
        return value.inc  # type: ignore[no-any-return]
    place = file._positions[value._key] // 8
    # A file that grows is mapped anew; this older mapping is of the same pages.
    words = memoryview(file._m)[: len(file._m) // 8 * 8].cast("d")

    def add(amount: float) -> None:
        words[place] += amount

    return add


class Cells:
    """A counter or gauge; `of` is cached, the labels in their order."""

    def __init__(self, metric: Counter | Gauge) -> None:
        self.of = functools.cache(lambda *labels: adder((metric.labels(*labels) if labels else metric)._value))


class Buckets:
    """A histogram; `of` is cached, the labels in their order."""

    def __init__(self, metric: Histogram) -> None:
        self._metric = metric
        self.of = functools.cache(self._observer)

    def _observer(self, *labels: str) -> Add:
        child = self._metric.labels(*labels)
        bounds: list[float] = list(child._upper_bounds)
        counts, total = [adder(bucket) for bucket in child._buckets], adder(child._sum)

        def observe(amount: float) -> None:
            total(amount)
            counts[bisect_left(bounds, amount)](1)

        return observe
