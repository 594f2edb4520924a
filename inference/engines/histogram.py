"""A latency histogram as an engine counts it: added up over engines, the difference of two readings, its percentiles.

Pure values. How an engine's page spells one is its kind's business, when to read it the pool's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Histogram:
    """How many observations fell into each bucket, by its upper bound in seconds; bounds ascend, empty ones stay."""

    buckets: tuple[tuple[float, int], ...] = ()

    @classmethod
    def of_cumulative(cls, counts: Mapping[float, float]) -> Histogram:
        """From Prometheus' buckets, each of which counts the smaller ones too; empty when they are none of that kind."""
        bounds = sorted(counts)
        totals = [0.0, *(counts[bound] for bound in bounds)]
        steps = [after - before for before, after in pairwise(totals)]
        if any(not math.isfinite(step) or step < 0 or step != int(step) for step in steps):
            return cls()
        return cls(tuple((bound, int(step)) for bound, step in zip(bounds, steps, strict=True)))

    @property
    def total(self) -> int:
        return sum(count for _, count in self.buckets)

    def __add__(self, other: Histogram) -> Histogram:
        counts: Counter[float] = Counter(dict(self.buckets))
        counts.update(dict(other.buckets))
        return Histogram(tuple(sorted(counts.items())))

    def since(self, before: Histogram) -> Histogram:
        """What was observed after `before` was read. Counters that went back began anew: then all of it."""
        counted, known = dict(self.buckets), dict(before.buckets)
        if any(count > counted.get(bound, 0) for bound, count in known.items()):
            return self
        return Histogram(tuple((bound, count - known.get(bound, 0)) for bound, count in self.buckets))

    def without_fastest(self, number: int) -> Histogram:
        """Less so many observations, taken from the lowest buckets."""
        left: list[tuple[float, int]] = []
        for bound, count in self.buckets:
            taken = min(count, number)
            number -= taken
            left.append((bound, count - taken))
        return Histogram(tuple(left))

    def quantile(self, share: float) -> float | None:
        """The value in seconds that `share` (0 to 1) of the observations don't exceed; None without observations.

        As PromQL's histogram_quantile (prometheus.io/docs/prometheus/latest/querying/functions): observations are taken
        to lie evenly within their bucket, the lowest begins at 0, and what lies beyond the last finite bound is given
        as that bound.
        """
        rank, below, lower = share * self.total, 0, 0.0
        for bound, count in self.buckets:
            if count and below + count >= rank:
                if math.isinf(bound):
                    break
                return lower + (bound - lower) * max(0.0, rank - below) / count
            below, lower = below + count, bound
        return lower if self.total and lower > 0 else None


NOTHING = Histogram()
