"""Whose fine-tune gets the next device.

The tenant's whose fine-tunes hold the fewest devices for its plan's weight; of equals the one whose fine-tunes of the last
week had the least device time for it; a tenant's own in the order in which they were created.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Sum
from django.db.models.functions import Now

from appliance.fleet import leases
from appliance.training import lease
from appliance.training.models import Job

COUNTED = timedelta(days=7)


@dataclass(frozen=True)
class Waiting:
    """A fine-tune that nobody works on, its tenant and the weight of the tenant's plan."""

    job_id: str
    tenant: str
    weight: int


@dataclass(frozen=True)
class Had:
    """What a tenant's fine-tunes have: devices now, device seconds lately."""

    devices: int = 0
    device_s: float = 0.0


def order(waiting: Iterable[Waiting], had: Mapping[str, Had]) -> list[str]:
    """The fine-tunes in the order in which devices go to them, each of them counted as held once it has one."""
    lines: dict[str, deque[tuple[int, Waiting]]] = {}
    for place, one in enumerate(waiting):
        lines.setdefault(one.tenant, deque()).append((place, one))
    held = {tenant: had.get(tenant, Had()).devices for tenant in lines}

    def turn(tenant: str) -> tuple[float, float, int]:
        place, first = lines[tenant][0]
        return held[tenant] / first.weight, had.get(tenant, Had()).device_s / first.weight, place

    found = []
    while lines:
        tenant = min(lines, key=turn)
        found.append(lines[tenant].popleft()[1].job_id)
        held[tenant] += 1
        if not lines[tenant]:
            del lines[tenant]
    return found


def in_turn() -> list[str]:
    """The fine-tunes that somebody should work on and nobody does, the next one first."""
    return _ordered(lease.unheld())


def ahead_of(job_id: str) -> list[str]:
    """Those of them that come before one, which may be held."""
    ordered = _ordered(list(dict.fromkeys([*lease.unheld(), job_id])))
    return ordered[: ordered.index(job_id)] if job_id in ordered else ordered


def _ordered(job_ids: Sequence[str]) -> list[str]:
    rows = Job.objects.filter(pk__in=job_ids).order_by("created_at").values_list("pk", "tenant", "tenant__plan__weight")
    waiting = [Waiting(*row) for row in rows]
    if len({one.tenant for one in waiting}) < 2:
        return [one.job_id for one in waiting]
    return order(waiting, _had())


def _had() -> dict[str, Had]:
    holders = leases.fine_tunes()
    held = dict(Job.objects.filter(pk__in=holders).values_list("pk", "tenant"))
    lately = Job.objects.filter(started_at__gt=Now() - COUNTED).values("tenant").annotate(total=Sum("device_s"))
    used = {row["tenant"]: row["total"] for row in lately.order_by()}
    counts = [held[job] for job in holders if job in held]
    return {tenant: Had(counts.count(tenant), used.get(tenant, 0.0)) for tenant in {*counts, *used}}
