"""Gives every admitted request its place at a replica: at once where one has room, else from this worker's fair queue.

What goes next is the least of lane, tenant's counter and time of arrival among all workers: each shows on the board what
its heads want, and passes a place over that another worker's head comes before. The choice among replicas is `route`'s.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from inference.gateway import errors, metrics
from inference.gateway.board import Board
from inference.gateway.breaker import Breaker
from inference.gateway.directory import DEFAULT_SEQUENCES, Directory, Replica
from inference.gateway.errors import ApiError
from inference.gateway.heads import Alike, Order
from inference.gateway.lanes import Lane
from inference.gateway.pace import Pace
from inference.gateway.place import Place
from inference.gateway.queue import Errand, FairQueue, QueueFull, Waiting
from inference.gateway.route import Candidate, choose
from inference.gateway.standing import Standing
from inference.gateway.targets import Targets

if TYPE_CHECKING:
    from inference.gateway.usage import Usage

log = logging.getLogger(__name__)

SLACK = 1 / 16  # more than it runs, so that it always has the next at hand while the gateway looks
BATCH_SHARE = (
    0.75  # of the sequences, beyond which no batch request is added: the rest is for those who wait for an answer
)
LOOK_AGAIN_S = 0.01  # other workers' requests end, too, and nobody calls


@functools.cache
def _room(max_sequences: int | None, lane: Lane) -> int:
    most = max_sequences or DEFAULT_SEQUENCES
    return max(1, int(most * BATCH_SHARE)) if lane is Lane.BATCH else most + math.ceil(most * SLACK)


def room(replica: Replica, lane: Lane) -> int:
    """With how many sequences a replica is full for a lane."""
    return _room(replica.max_sequences, lane)


class Dispatcher:
    """One worker's."""

    def __init__(
        self,
        directory: Directory,
        board: Board,
        queue: FairQueue[Place],
        queue_wait_s: float,
        targets: Targets | None = None,
    ) -> None:
        self.board = board
        self.breaker = Breaker()
        self._directory = directory
        self._queue_wait_s = queue_wait_s
        self._targets = targets or Targets()
        self._queue = queue
        self._standing = Standing(directory, board, queue)
        self._heads = self._standing.heads
        self._paces: dict[str, Pace] = defaultdict(Pace)
        self._num_running: Counter[str] = Counter()  # this worker's, by base model
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = False
        self._closed: ApiError | None = None
        self._turn = 0

    # --- asking

    def ask(self, errand: Errand, avoid: Collection[str] = ()) -> Place | Waiting[Place]:
        """A place, or the wait for one. Replicas in `avoid` are taken only where there is no other.

        Raises: ApiError 503 when no replica is ready, or neither a place nor room to wait.
        """
        if not self._directory.replicas(errand.model):
            raise errors.overloaded()
        share, served = self._standing.lift(errand)
        now = time.monotonic()
        if not self._queue.num_of(errand.base):
            replica = self._find(errand, avoid, self._standing.key(errand, served, 0.0), now)
            if replica is not None:
                return self._take(errand, replica, share, served, now)
        return self._wait(errand, avoid, now)

    def _wait(self, errand: Errand, avoid: Collection[str], now: float) -> Waiting[Place]:
        if self._closed is not None:
            raise self._closed
        waiting: Waiting[Place] = Waiting(errand, now, avoid, self._loop.create_future())
        try:
            sent_away = self._queue.add(waiting)
        except QueueFull:
            raise self._too_many(errand, "Too many requests are waiting. Try again later.") from None
        for victim in sent_away:
            self._gone(victim)
            self._refuse(victim, self._too_many(victim.errand, "Too many requests are waiting. Try again later."))
        self._heads.put(waiting, now)
        metrics.QUEUED.labels(errand.lane.label).inc()
        self._pump()
        return waiting

    def leave_queue(self, waiting: Waiting[Place]) -> None:
        """The request's client left: it waits no more."""
        if waiting in self._queue:
            self._remove(waiting)
            if not waiting.answer.done():
                waiting.answer.set_result(None)
            self._pump_soon()  # also where nobody waits any more: the heads shown are to go

    def close(self, error: ApiError) -> None:
        """Nobody waits any more: the gateway stops."""
        self._closed = error  # nobody waits from now on
        for waiting in self._queue:
            self._remove(waiting)
            self._refuse(waiting, error)
        self._pump()

    def _too_many(self, errand: Errand, message: str) -> ApiError:
        """With the time in which all that goes before it, and it too, would get a place from this worker."""
        num, running = self._queue.num_before(errand) + 1, self._num_running[errand.base]
        return errors.overloaded(message, self._paces[errand.base].wait_s(num, running, time.monotonic()))

    def _refuse(self, waiting: Waiting[Place], error: ApiError) -> None:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)

    def _remove(self, waiting: Waiting[Place]) -> None:
        self._heads.remove(waiting, time.monotonic())
        self._gone(waiting)

    def _gone(self, waiting: Waiting[Place]) -> None:
        lane, now = waiting.errand.lane, time.monotonic()
        metrics.QUEUED.labels(lane.label).dec()
        metrics.QUEUE_WAIT.labels(lane.label).observe(now - waiting.since)
        self._targets.waited(lane, waiting.errand.base, now - waiting.since, now)

    # --- choosing

    def _usable(self, replicas: Sequence[Replica], avoid: Collection[str], now: float) -> Sequence[Replica]:
        """The best there are: not tried yet and with a closed circuit, then not tried yet, then any."""
        if not (avoid or self.breaker):
            return replicas
        fresh = [one for one in replicas if one.life_id not in avoid] if avoid else replicas
        sound = [one for one in fresh if not self.breaker.is_open(one.life_id, now)]
        return sound or fresh or replicas

    def _find(self, errand: Errand, avoid: Collection[str], key: int, now: float) -> Replica | None:
        """A replica with room that no other worker's head comes before at."""
        candidates, board, lane = [], self.board, errand.lane
        heads = board.shows_heads()
        holds_back = self._targets.holds_back(lane, errand.base, now)
        for replica in self._usable(self._directory.replicas(errand.model), avoid, now):
            life = board.life(replica.life_id)
            sequences, tokens = board.load(life)
            places = _room(replica.max_sequences, lane)
            if holds_back:
                places -= self._targets.held_back(lane, errand.base, places, now)
            free = sequences < places and not (heads and board.head(life) < key)
            candidates.append(Candidate(replica, tokens, free))
        self._turn += 1
        return choose(candidates, errand.prefix, self._turn)

    def _take(self, errand: Errand, replica: Replica, share: int, served: int, now: float) -> Place:
        self.breaker.began(replica.life_id, now)
        self.board.set_clock(self._standing.clock(errand), served)
        expected = self._paces[errand.base].expect(errand.num_sequences, errand.max_tokens)
        self._num_running[errand.base] += 1
        return Place(self.board, errand, replica, share, expected, now, self._left)

    def _left(self, place: Place, used: Usage | None) -> None:
        errand = place.errand
        self._num_running[errand.base] -= 1
        if used is not None:
            now = time.monotonic()
            self._paces[errand.base].ended(place.began, now, errand.num_sequences, used.completion_tokens)
        if self._queue:
            self._pump_soon()

    # --- the queue

    def _pump_soon(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Give places to those whose turn it is, send those away whose time is up, look again later."""
        self._due = False
        if self.board.closed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._expire()
            now = time.monotonic()
            self._heads.keep_ranked(now)
            self._place_all(now)
            self._show_heads(now)
        except Exception:
            # One request's fault must not stop the queue for all others.
            log.exception("looking through the queue failed")
        if self._queue:
            self._timer = self._loop.call_later(LOOK_AGAIN_S, self._pump)

    def _expire(self) -> None:
        for waiting in self._queue.expired(time.monotonic() - self._queue_wait_s):
            self._remove(waiting)
            busy = "All replicas of this model are busy. Try again later."
            self._refuse(waiting, self._too_many(waiting.errand, busy))
        gone = {model for model in self._queue.models() if not self._directory.replicas(model)}
        for waiting in self._queue if gone else ():
            if waiting.errand.model in gone:
                self._remove(waiting)
                self._refuse(waiting, errors.overloaded())

    def _in_turn(self, now: float) -> list[tuple[Order, Alike]]:
        """The next of each that ask for the same, the first of them first; sorted lists are heaps."""
        found = [(self._heads.least(alike, now), alike) for alike in self._heads.alike()]
        return sorted((head[0], alike) for head, alike in found if head is not None)

    def _place_all(self, now: float) -> None:
        """Give away what is free. Meanwhile room only shrinks, so that who got nothing is not asked twice."""
        turns = self._in_turn(now)
        while turns:
            before, alike = heapq.heappop(turns)
            head = self._heads.least(alike, now)
            if head is None:
                continue
            order, waiting = head
            if order > before:
                heapq.heappush(turns, (order, alike))
                continue
            errand = waiting.errand
            replica = self._find(errand, waiting.avoid, order[0], now)
            if replica is not None:
                self._remove(waiting)
                if not waiting.answer.done():
                    share = self._standing.share(errand)
                    waiting.answer.set_result(self._take(errand, replica, share, self.board.served(share), now))
                heapq.heappush(turns, (order, alike))

    def _show_heads(self, now: float) -> None:
        """Tell the other workers what each replica's next from here would be."""
        heads: dict[int, int] = {}
        for (key, _, _), (model, _, avoid) in self._in_turn(now):
            for replica in self._usable(self._directory.replicas(model), avoid, now):
                heads.setdefault(self.board.life(replica.life_id), key)
        self.board.show_heads(heads)

    # --- the clock, the end

    def shut(self) -> None:
        """After everything has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self.board.close()

    def sweep(self) -> None:
        """Called every second."""
        self.board.sweep()
        self.breaker.keep({one.life_id for every in self._directory.snapshot.replicas.values() for one in every})
