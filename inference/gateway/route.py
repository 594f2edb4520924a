"""Chooses the replica of a request and counts what each has to do. The count is this worker's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from inference.gateway import errors
from inference.gateway.directory import Directory, Replica


class Router:
    """Fewest outstanding requests first, ties in turn."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._outstanding: Counter[str] = Counter()
        self._turn = 0

    def choose(self, model: str, avoid: Collection[str] = ()) -> Replica:
        """A ready replica, one of `avoid` only where there is no other.

        Raises: ApiError 503 when none is ready.
        """
        ready = self._directory.replicas(model)
        if not ready:
            raise errors.overloaded()
        fresh = [replica for replica in ready if replica.life_id not in avoid] or list(ready)
        self._turn += 1
        turned = fresh[self._turn % len(fresh) :] + fresh[: self._turn % len(fresh)]
        return min(turned, key=lambda replica: self._outstanding[replica.life_id])

    def begin(self, replica: Replica) -> None:
        """Count a request to a replica."""
        self._outstanding[replica.life_id] += 1

    def end(self, replica: Replica) -> None:
        """Discount a request that ended."""
        self._outstanding[replica.life_id] -= 1
        if self._outstanding[replica.life_id] <= 0:
            del self._outstanding[replica.life_id]
