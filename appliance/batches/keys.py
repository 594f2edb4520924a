"""The key that a batch's requests are sent with: internal, in the lane of batches, short-lived and renewed while work goes on.

It has the limits of the key that made the batch, and of that one's budget what is left of it this month.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from appliance.batches import lease
from appliance.batches.errors import BatchLost
from appliance.batches.models import Batch
from appliance.ledger.models import LedgerEntry
from appliance.ledger.seeds import cost_since
from appliance.tenants.keys import KeyLimits, mint, revoke
from appliance.tenants.models import ApiKey, Lane

LIFE = timedelta(minutes=10)
RENEW_BEFORE = timedelta(minutes=5)


@dataclass(frozen=True)
class OpenKey:
    """A live key: its row and what is sent."""

    row: ApiKey
    secret: str


@transaction.atomic
def open_key(batch_id: str, fence: int) -> OpenKey:
    """Make this attempt's key; one that a killed attempt left is revoked.

    Raises: BatchLost.
    """
    batch = lease.held(batch_id, fence).select_for_update(of=("self",)).select_related("tenant__plan", "key").first()
    if batch is None:
        raise BatchLost(batch_id)
    close_keys(batch)
    made_by = batch.key
    row, secret = mint(
        batch.tenant, f"batch {batch.pk}", made_by.created_by if made_by else None, timezone.now() + LIFE, internal=True,
        limits=_limits(made_by) if made_by else KeyLimits(), lane=Lane.BATCH,
    )  # fmt: skip
    Batch.objects.filter(pk=batch.pk).update(internal_keys=[*batch.internal_keys, row.pk])
    return OpenKey(row, secret)


def extend(key: OpenKey) -> bool:
    """Let a key live longer where it needs to; False when somebody revoked it."""
    now = timezone.now()
    if key.row.expires_at is not None and key.row.expires_at - now > RENEW_BEFORE:
        return True
    until = now + LIFE
    if ApiKey.objects.filter(pk=key.row.pk, revoked_at=None).update(expires_at=until) != 1:
        return False
    key.row.expires_at = until
    return True


def close_keys(batch: Batch) -> None:
    """Revoke whatever keys a batch has."""
    for key in ApiKey.objects.filter(pk__in=batch.internal_keys, internal=True, revoked_at=None):
        revoke(key)


def _limits(key: ApiKey) -> KeyLimits:
    budget = key.monthly_budget_micros
    if budget is not None:
        budget = max(0, budget - _spent(key))
    return KeyLimits(key.requests_per_minute, key.tokens_per_minute, budget)


def _spent(key: ApiKey) -> int:
    """What the key and all its batches used this month, in micro-units."""
    lists = Batch.objects.filter(key=key).values_list("internal_keys", flat=True)
    ids = [str(key.pk), *(str(one) for found in lists for one in found)]
    rows = LedgerEntry.objects.filter(tenant_id=key.tenant_id, key_id__in=ids)
    return cost_since(rows, _month_began(), key.tenant.plan)


def _month_began() -> datetime:
    return timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
