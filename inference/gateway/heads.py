"""The queue's heads in the order of their turn, so that a look costs by what can be placed and not by who waits.

A heap for all heads that ask the same of the same replicas. A head's key mostly grows while it waits, as its tenant is
served elsewhere: keys are put right when they come to the top, and all of them now and then, for those that shrank.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

from inference.gateway.lanes import Lane
from inference.gateway.queue import FairQueue, Waiting

T = TypeVar("T")
Alike = tuple[str, Lane, frozenset[str]]  # model, lane, replicas to avoid
Order = tuple[int, float, int]  # key, time of arrival, and a number that keeps two of one moment apart

RANK_AGAIN_S = 0.1


class Heads(Generic[T]):
    """Of one queue; `key_of` says whose turn is sooner at a moment, the lower the sooner."""

    def __init__(self, queue: FairQueue[T], key_of: Callable[[Waiting[T], float], int]) -> None:
        self._queue = queue
        self._key_of = key_of
        self._heaps: dict[Alike, list[tuple[Order, Waiting[T]]]] = {}
        self._number = 0
        self._rank_at = 0.0

    def keep_ranked(self, now: float) -> None:
        """Reckon all keys anew where that is due."""
        if now < self._rank_at:
            return
        self._rank_at = now + RANK_AGAIN_S
        self._heaps.clear()
        for waiting in self._queue.heads():
            self.put(waiting, now)

    def put(self, waiting: Waiting[T] | None, now: float) -> None:
        """A request may be the first of its tenant now; nothing happens where it is not."""
        if waiting is None or not self._queue.is_head(waiting):
            return
        self._number += 1
        order = (self._key_of(waiting, now), waiting.since, self._number)
        heapq.heappush(self._heaps.setdefault(_alike(waiting), []), (order, waiting))

    def remove(self, waiting: Waiting[T], now: float) -> None:
        """It waits no more; where it was the first of its tenant, the next one is."""
        errand, was_head = waiting.errand, self._queue.is_head(waiting)
        self._queue.remove(waiting)
        if was_head:
            self.put(self._queue.head(errand.lane, errand.model, errand.tenant), now)

    def alike(self) -> list[Alike]:
        """What the heads ask for."""
        return list(self._heaps)

    def least(self, alike: Alike, now: float) -> tuple[Order, Waiting[T]] | None:
        """Whose turn is next among those that ask for the same."""
        heap = self._heaps.get(alike, [])
        while heap:
            (before, since, number), waiting = heap[0]
            if not self._queue.is_head(waiting):
                heapq.heappop(heap)
                continue
            key = self._key_of(waiting, now)
            if key <= before:
                return (key, since, number), waiting
            heapq.heapreplace(heap, ((key, since, number), waiting))
        self._heaps.pop(alike, None)
        return None


def _alike(waiting: Waiting[T]) -> Alike:
    return waiting.errand.model, waiting.errand.lane, frozenset(waiting.avoid)
