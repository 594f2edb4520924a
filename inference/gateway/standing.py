"""Where tenants stand: the counters of service behind whose turn it is, and the key that says so among all workers.

A tenant's counter is kept for a base model and a kind of lane, see `dispatch`; the board has the figures.
"""

from __future__ import annotations

import time

from inference.gateway.board import NO_HEAD, Board
from inference.gateway.directory import Directory
from inference.gateway.heads import Heads
from inference.gateway.lanes import Lane, rank
from inference.gateway.place import Place
from inference.gateway.queue import Errand, FairQueue, Waiting

_COUNTER_BITS = 58
_MAX_COUNTER = (1 << _COUNTER_BITS) - 1


class Standing:
    """As one worker sees it. `heads` are the first of those that wait here, in their order."""

    def __init__(self, directory: Directory, board: Board, queue: FairQueue[Place]) -> None:
        self._directory = directory
        self._board = board
        self._queue = queue
        self.heads: Heads[Place] = Heads(queue, self.key_of)

    def share(self, errand: Errand) -> int:
        """The place of its tenant's counter."""
        return self._board.share(f"{errand.base}\n{_kind(errand.lane)}\n{errand.tenant}")

    def clock(self, errand: Errand) -> int:
        """The place of what its whole lane stands at."""
        return self._board.share(f"{errand.base}\n{_kind(errand.lane)}\n")

    def lift(self, errand: Errand) -> tuple[int, int]:
        """The tenant's counter and what it says, raised to where service stands unless it already waits: idleness earns no
        credit."""
        share = self.share(errand)
        served = self._board.served(share)
        if self._queue.holds(errand.lane, errand.model, errand.tenant):
            return share, served
        behind = self._stands_at(errand) - served
        if behind > 0:
            # Two workers that do so at once lift twice: all who come later are lifted as far.
            self._board.serve(share, behind)
            served += behind
        return share, served

    def _stands_at(self, errand: Errand) -> int:
        """The least counter among those who wait; where nobody does, that of whoever was served last."""
        kind = _kind(errand.lane)
        if self._queue:
            now = time.monotonic()
            rivals = [self.heads.least(one, now) for one in self.heads.alike() if _kind(one[1]) == kind]
            of_base = [found[1].errand for found in rivals if found is not None and found[1].errand.base == errand.base]
            if of_base:
                return min(self._board.served(self.share(rival)) for rival in of_base)
        head = self._head(errand.model) if self._board.shows_heads() else NO_HEAD
        if head != NO_HEAD and _kind(Lane(head >> _COUNTER_BITS)) == kind:
            return head & _MAX_COUNTER
        return self._board.clock(self.clock(errand))

    def _head(self, model: str) -> int:
        """What waits for a model in the other workers, the least of it."""
        return min(self._board.head(self._board.life(one.life_id)) for one in self._directory.replicas(model))

    def key(self, errand: Errand, served: int, waited_s: float) -> int:
        """Whose turn is sooner, the lower the sooner."""
        return rank(errand.lane, waited_s) << _COUNTER_BITS | min(max(served, 0), _MAX_COUNTER)

    def key_of(self, waiting: Waiting[Place], now: float) -> int:
        """The key of one that waits."""
        return self.key(waiting.errand, self._board.served(self.share(waiting.errand)), now - waiting.since)


def _kind(lane: Lane) -> str:
    """Lanes that share a counter: what batches and evaluations use of what is left over costs no interactive share."""
    return "" if lane <= Lane.CHAT else lane.label
