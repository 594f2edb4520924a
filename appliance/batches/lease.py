"""Who works on a batch: a lease that runs out unless it is renewed, and a fence that each claim raises.

All times are the database's. A holder whose fence is no longer the batch's has lost it, and nothing it writes is taken.
A tenant that was switched off does not stop a claim: its batches have to be brought to an end.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from appliance.batches.models import Batch, new_holder
from appliance.batches.states import WORKABLE, BatchStatus, may_move, moment_of

TTL_S = 20.0
RENEW_S = 2.0

_WORKABLE = [status.value for status in WORKABLE]


def unheld() -> list[tuple[str, str]]:
    """The batches that somebody should work on and nobody does, oldest first, each with its tenant."""
    rows = Batch.objects.filter(_free(), status__in=_WORKABLE)
    return list(rows.order_by("created_at", "pk").values_list("pk", "tenant_id"))


def claim(batch_id: str) -> int | None:
    """Take a batch that nobody holds; its new fence, or None when it is held or over."""
    holder = new_holder()
    Batch.objects.filter(_free(), pk=batch_id, status__in=_WORKABLE).update(
        fence=F("fence") + 1, lease_holder=holder, lease_expires_at=expiry()
    )
    return Batch.objects.filter(pk=batch_id, lease_holder=holder).values_list("fence", flat=True).first()


def renew(batch_id: str, fence: int) -> bool:
    """Hold on to a batch; False when it was lost or is over."""
    return held(batch_id, fence).update(lease_expires_at=expiry()) == 1


def release(batch_id: str, fence: int) -> None:
    """Let go of a batch, so that the next claim needn't wait."""
    Batch.objects.filter(pk=batch_id, fence=fence).update(lease_expires_at=None, lease_holder="")


def held(batch_id: str, fence: int) -> QuerySet[Batch]:
    """The batch as long as this fence holds it and it is not over: what every write of a holder goes through."""
    return Batch.objects.filter(pk=batch_id, fence=fence, status__in=_WORKABLE)


def move(batch_id: str, fence: int, from_status: BatchStatus, to_status: BatchStatus, **changes: object) -> bool:
    """A holder's compare-and-set of the status; False when the batch is no longer theirs or no longer there."""
    if not may_move(from_status, to_status):
        raise ValueError(f"a batch can't go from {from_status.value} to {to_status.value}")
    moment = moment_of(to_status)
    stamped = {**changes, **({moment: Now()} if moment else {})}
    return held(batch_id, fence).filter(status=from_status.value).update(status=to_status.value, **stamped) == 1


def _free() -> Q:
    return Q(lease_expires_at=None) | Q(lease_expires_at__lt=Now())


def expiry() -> object:
    """When a lease that is taken or renewed now runs out."""
    return Now() + timedelta(seconds=TTL_S)
