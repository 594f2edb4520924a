"""A request's turn: the wait for a place at a replica, which its client can give up."""

from __future__ import annotations

import time

from inference.gateway import metrics
from inference.gateway.directory import Replica
from inference.gateway.dispatch import Dispatcher
from inference.gateway.place import Place
from inference.gateway.queue import Errand, Waiting


class Turn:
    """Of one request; a second place is asked for where the first came to nothing."""

    def __init__(self, dispatcher: Dispatcher, errand: Errand) -> None:
        self._dispatcher = dispatcher
        self._errand = errand
        self._waiting: Waiting[Place] | None = None
        self._given_up = False
        self.tried: set[str] = set()  # lives that had the request

    async def place(self) -> Place | None:
        """A place at a replica, another than those tried where there is one; None where the client left meanwhile.

        Raises: ApiError 503.
        """
        if self._given_up:  # while it was on its way to a replica that did not take it
            return None
        found = self._dispatcher.ask(self._errand, self.tried)
        if isinstance(found, Waiting):
            self._waiting = found
            place = await found.answer
            self._waiting = None
        else:
            place = found
        if place is not None and self._given_up:
            place.leave()
            return None
        if place is not None:
            self.tried.add(place.replica.life_id)
        return place

    def give_up(self) -> None:
        """The client left."""
        self._given_up = True
        if self._waiting is not None:
            self._dispatcher.leave_queue(self._waiting)

    def failed(self, replica: Replica) -> None:
        """A replica took no request, went away before the first byte, or says that it failed."""
        if self._dispatcher.breaker.failed(replica.life_id, time.monotonic()):
            metrics.CIRCUITS_OPENED.labels(self._errand.base).inc()

    def answered(self, replica: Replica, status: int) -> None:
        """A replica answered; one that fails at once has the fewest outstanding tokens and would draw requests."""
        if status < 500 or status == 501:
            self._dispatcher.breaker.worked(replica.life_id)
        else:
            self.failed(replica)
