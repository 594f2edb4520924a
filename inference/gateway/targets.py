"""The lanes' targets for the first event, how well they are kept, and what the queue does for the one that has one.

Where requests that fill in the middle lately waited for a large part of their target, the lanes behind them leave some of
every replica's places free, so that the next one finds a place at once. Each worker learns by itself.
"""

from __future__ import annotations

import math

from inference.gateway import metrics
from inference.gateway.cells import Buckets
from inference.gateway.lanes import Lane

WAIT_SHARE = 0.5  # of the target, which a wait in the queue may take
HELD_BACK_S = 60.0  # after such a wait
HELD_BACK = 1 / 8  # of a replica's places, and one: more than the slack beyond what it runs at once
DEFAULT_FIM_S = 0.3

_ttft = Buckets(metrics.LANE_TTFT).of


class Targets:
    """One worker's. Times are seconds of the monotonic clock."""

    def __init__(self, fim_s: float = DEFAULT_FIM_S) -> None:
        self._of_lane = {Lane.FIM: fim_s}
        self._until: dict[str, float] = {}  # by base model
        for lane, target_s in self._of_lane.items():
            metrics.TARGET.labels(lane.label).set(target_s)

    def first_event(self, lane: Lane, ttft_s: float) -> None:
        """A stream began after so long."""
        _ttft(lane.label)(ttft_s)
        if ttft_s > self._of_lane.get(lane, math.inf):
            metrics.OVER_TARGET.labels(lane.label).inc()

    def waited(self, lane: Lane, base: str, wait_s: float, now: float) -> None:
        """A request left the queue, however that ended."""
        if wait_s > self._of_lane.get(lane, math.inf) * WAIT_SHARE:
            self._until[base] = now + HELD_BACK_S

    def holds_back(self, lane: Lane, base: str, now: float) -> bool:
        """Whether any place of a replica is not for this lane now."""
        return bool(self._until) and lane not in self._of_lane and now < self._until.get(base, -math.inf)

    def held_back(self, lane: Lane, base: str, places: int, now: float) -> int:
        """So many of a replica's places are not for this lane now; one is always left."""
        if not self.holds_back(lane, base, now):
            return 0
        return min(math.ceil(places * HELD_BACK) + 1, places - 1)
