"""What the supervisor knows of the store's rows. At rest it asks one small question instead of reading all of them again."""

import time
from dataclasses import dataclass

from inference.pool.store import DesiredAdapter, DesiredDeployment, ReplicaRow, Store

ANEW_S = 10.0  # whatever the stamp says: it may leave out what somebody changes by hand


@dataclass(frozen=True)
class Known:
    """The rows of one moment. Whoever changes them in the store gets a new one with the next `read`."""

    desired: list[DesiredDeployment]
    rows: list[ReplicaRow]
    leased: set[str]
    adapters: list[DesiredAdapter]


class Reading:
    """For one thread."""

    def __init__(self, store: Store, anew_s: float = ANEW_S) -> None:
        self._store = store
        self._anew_s = anew_s
        self._known: Known | None = None
        self._stamp: object = None
        self._until = 0.0

    def read(self) -> Known:
        """The rows as they are now. What the store raises is passed on, and nothing old is told in its place."""
        now = time.monotonic()
        stamp = self._store.stamp()  # before the rows: a change in between is read again, never missed
        if self._known is None or stamp != self._stamp or now >= self._until:
            store = self._store
            self._known = Known(store.desired(), store.replicas(), store.leased_devices(), store.desired_adapters())
            self._stamp, self._until = stamp, now + self._anew_s
        return self._known
