"""Who works on a job: a lease that runs out unless it is renewed, and a fence that each claim raises.

All times are the database's. A holder whose fence is no longer the job's has lost it, and nothing it writes is taken.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from appliance.fleet import boxes
from appliance.tenants.models import Tenant
from appliance.training.errors import LeaseLost
from appliance.training.models import Job
from finetune.job import TERMINAL, WORKABLE, JobStatus

TTL_S = 20.0
RENEW_S = 2.0

_WORKABLE = [status.value for status in WORKABLE]


def claim(job_id: str) -> int | None:
    """Take a job that nobody holds; its new fence, or None when it is held, over, or waits for a person."""
    holder = uuid.uuid4().hex
    free = Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now())
    Job.objects.filter(free, pk=job_id, status__in=_WORKABLE, tenant__in=_active_tenants()).update(
        fence=F("fence") + 1, lease_holder=holder, lease_expires_at=_expiry(), box=boxes.here()
    )
    return Job.objects.filter(pk=job_id, lease_holder=holder).values_list("fence", flat=True).first()


def owner(job_id: str, fence: int) -> str:
    """Under which name this attempt, and no other one of the same job, holds a device."""
    return f"{job_id}/{fence}"


def renew(job_id: str, fence: int, device_s: float = 0.0) -> bool:
    """Hold on to a job; False when it was lost, or is not to be worked on any more.

    `device_s`: for how many seconds since the last time its attempt held a device.
    """
    changes = {"lease_expires_at": _expiry(), "device_s": F("device_s") + device_s}
    return held(job_id, fence).filter(tenant__in=_active_tenants()).update(**changes) == 1


def release(job_id: str, fence: int) -> None:
    """Let go of a job, so that the next claim needn't wait."""
    Job.objects.filter(pk=job_id, fence=fence).update(lease_expires_at=None, lease_holder="")


def held(job_id: str, fence: int) -> QuerySet[Job]:
    """The job as long as this fence holds it and nobody ended or paused it: what every write of a holder goes through."""
    return Job.objects.filter(pk=job_id, fence=fence, status__in=_WORKABLE)


@contextmanager
def holding(job_id: str, fence: int) -> Iterator[Job]:
    """A transaction of the job's holder: until it ends nobody else claims, ends or pauses the job.

    Raises: LeaseLost, and nothing is written, where this fence holds it no longer.
    """
    with transaction.atomic():
        row = held(job_id, fence).select_for_update().first()
        if row is None:
            raise LeaseLost(f"{job_id}: it is no longer attempt {fence}'s")
        yield row


def move(job_id: str, fence: int, from_status: JobStatus, to_status: JobStatus, **changes: object) -> bool:
    """A holder's compare-and-set of the status; False when the job is no longer theirs or no longer there."""
    return held(job_id, fence).filter(status=from_status.value).update(status=to_status.value, **changes) == 1


def _expiry() -> object:
    return Now() + timedelta(seconds=TTL_S)


def _active_tenants() -> QuerySet[Tenant]:
    # a subquery of its own: with a join, Django puts the whole condition into one, which PostgreSQL does not look at
    # again after it waited for the row, and two claims would win
    return Tenant.objects.filter(is_active=True)


def forget_ended() -> None:
    """Take the names of killed holders off jobs that are over."""
    over = Job.objects.filter(status__in=[status.value for status in TERMINAL], lease_expires_at__lt=Now())
    over.update(lease_expires_at=None, lease_holder="")


def unheld() -> list[str]:
    """The jobs that somebody should work on and nobody does."""
    free = Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now())
    jobs = Job.objects.filter(free, status__in=_WORKABLE, tenant__in=_active_tenants())
    return list(jobs.order_by("created_at").values_list("pk", flat=True))


def working_on(box: str) -> list[str]:
    """The jobs that a box holds."""
    jobs = Job.objects.filter(box=box, lease_expires_at__gt=Now(), status__in=_WORKABLE)
    return list(jobs.order_by("created_at").values_list("pk", flat=True))
