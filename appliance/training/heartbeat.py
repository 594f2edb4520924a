"""Keeps an attempt's leases alive from a thread of its own, and tells the attempt when it has to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from django.db import Error, close_old_connections, connection

from appliance.fleet import leases
from appliance.training import lease, metrics
from appliance.training.errors import LeaseLost

log = logging.getLogger("coderack.training")

stopping = threading.Event()  # the worker is told to end: what it works on is left for the next one


class Heartbeat:
    """While it beats, the job and its device are this attempt's; `check` raises once they are not."""

    def __init__(self, job_id: str, fence: int) -> None:
        self._job_id = job_id
        self._fence = fence
        self._lost = threading.Event()
        self._over = threading.Event()
        self._on_lost: Callable[[], None] | None = None
        self._counted_to = time.monotonic()
        self.holds_device = False
        self._thread = threading.Thread(target=self._beat, name=f"lease-{job_id}", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(lease.RENEW_S)

    def when_lost(self, call: Callable[[], None] | None) -> None:
        """What to call, from the heartbeat's thread, when the attempt has to stop."""
        self._on_lost = call
        if call is not None and self.is_lost:
            call()

    @property
    def job_id(self) -> str:
        """The fine-tune it beats for."""
        return self._job_id

    @property
    def fence(self) -> int:
        """Which attempt at it."""
        return self._fence

    @property
    def is_lost(self) -> bool:
        """Whether the attempt has to stop."""
        return self._lost.is_set() or stopping.is_set()

    def check(self) -> None:
        """Raises: LeaseLost when the attempt has to stop."""
        if self.is_lost:
            raise LeaseLost(f"{self._job_id}: the worker ends, or the job is not this attempt's any more")

    def sleep(self, seconds: float) -> None:
        """Wait, and stop waiting as soon as the attempt has to stop.

        Raises: LeaseLost.
        """
        self._lost.wait(seconds)
        self.check()

    def _beat(self) -> None:
        told = False
        while not self._over.wait(1.0 if told else lease.RENEW_S):
            if not self._lost.is_set() and not stopping.is_set():
                self._renew()
            if self.is_lost and not told:
                told = True
                self._lost.set()  # also where the worker ends: `sleep` waits for this
                if self._on_lost is not None:
                    self._on_lost()
        connection.close()

    def _renew(self) -> None:
        close_old_connections()
        try:
            held_before = self.holds_device
            renewed = leases.renew(lease.owner(self._job_id, self._fence), lease.TTL_S)
            lost_device = held_before and self.holds_device and not renewed
            now = time.monotonic()
            device_s = now - self._counted_to if renewed else 0.0
            if lost_device or not lease.renew(self._job_id, self._fence, device_s):
                self._lost.set()
                metrics.LEASES_LOST.inc()
            self._counted_to = now
        except Error as error:
            # nobody else can take the job while the database is away, and the next beat tries again
            log.warning("%s: the lease could not be renewed: %s", self._job_id, str(error).partition("\n")[0])
            metrics.RENEWALS_FAILED.inc()
            connection.close()
