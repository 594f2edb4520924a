"""Waiting for what the pool makes of a deployment: all its replicas ready, or none left."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.utils import timezone

from appliance.fleet.models import Deployment, Replica
from ops.upgrade.errors import StepFailed

LOOK_S = 0.3
READY_S = 2100.0  # as long as the pool gives an engine to load and to warm up
IDLE_S = 600.0  # as long as the gateway waits for a silent engine; a fine-tune's checks may keep one busy
UNREAD_S = 20.0  # the pool reads an engine's counters every 2 s
GONE_S = 180.0  # draining 30 s, ending 10 s, and a pool that was started anew meanwhile

Tell = Callable[[str], None]


def wait_ready(deployment: Deployment, tell: Tell, timeout_s: float = READY_S) -> list[Replica]:
    """The deployment's replicas, once all of them are ready.

    Raises: StepFailed with the reason of one that failed, or when the time is over.
    """
    deadline, told = time.monotonic() + timeout_s, ""
    while True:
        rows = list(Replica.objects.filter(deployment=deployment).select_related("life").order_by("index"))
        ready = [row for row in rows if row.state == "ready" and row.life is not None]
        for row in rows:
            if row.state == "failed":
                raise StepFailed(f"replica {row.index} of version {deployment.model.digest[:12]} failed: {row.reason}")
        if len(ready) == len(rows) == deployment.replicas:
            return ready
        states = ", ".join(row.state for row in rows) or "waiting for the pool"
        if states != told:
            tell(f"engines: {states}")
            told = states
        if time.monotonic() > deadline:
            raise StepFailed(
                f"{len(ready)} of {deployment.replicas} replicas were ready in {timeout_s:.0f} s ({states})"
            )
        time.sleep(LOOK_S)


def wait_idle(deployment: Deployment, tell: Tell, timeout_s: float = IDLE_S) -> None:
    """Until a reading of each ready engine, taken from now on, shows no request. It gives up in time: a drain follows.

    A pool that takes no readings isn't waited for.
    """
    began, told = timezone.now(), ""
    ready = Replica.objects.filter(deployment=deployment, state="ready").exclude(life=None)
    while (waited_s := (timezone.now() - began).total_seconds()) < timeout_s:
        lives = [row.life for row in ready.select_related("life") if row.life is not None]
        read = [life for life in lives if life.counters_at is not None and life.counters_at > began]
        requests = sum(life.requests_running + life.requests_waiting for life in read)
        if not requests and (len(read) == len(lives) or waited_s > UNREAD_S):
            return
        if requests and told != (line := f"{requests} requests on the old engines"):
            tell(line)
            told = line
        time.sleep(LOOK_S)


def wait_gone(deployment: Deployment, tell: Tell, timeout_s: float = GONE_S) -> None:
    """Until no engine of the deployment is left and its devices are free.

    Raises: StepFailed when the time is over.
    """
    deadline, told = time.monotonic() + timeout_s, ""
    while rows := list(Replica.objects.filter(deployment=deployment)):
        states = ", ".join(row.state for row in rows)
        if states != told:
            tell(f"engines that are to end: {states}")
            told = states
        if time.monotonic() > deadline:
            raise StepFailed(f"{len(rows)} engines did not end in {timeout_s:.0f} s ({states}): is the pool running?")
        time.sleep(LOOK_S)
