"""The key that a batch's requests are sent with: internal, in the lane of batches, short-lived and renewed while work goes on.

The limits of the key that made the batch hold for both together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from appliance.batches import lease
from appliance.batches.errors import BatchLost
from appliance.batches.models import Batch
from appliance.tenants.keys import mint, revoke
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
        lane=Lane.BATCH, limits_of=made_by,
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
