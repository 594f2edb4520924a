"""The key of a batch: its limits, its life, and that an earlier attempt's ends."""

from __future__ import annotations

import hashlib

import pytest
from django.utils import timezone

from appliance.batches import lease
from appliance.batches.errors import BatchLost
from appliance.batches.keys import LIFE, extend, open_key
from appliance.batches.models import Batch
from appliance.tenants.keys import revoke
from appliance.tenants.models import ApiKey, Lane
from tests.appliance.api.callers import Caller


@pytest.fixture
def batch(acme: Caller) -> Batch:
    return acme.batch()


def claimed(batch: Batch) -> int:
    fence = lease.claim(batch.pk)
    assert fence is not None
    return fence


def test_it_is_internal_short_lived_and_in_the_lane_of_batches(batch: Batch) -> None:
    key = open_key(batch.pk, claimed(batch))
    row = ApiKey.objects.get(digest=hashlib.sha256(key.secret.encode()).hexdigest())
    assert (row.internal, row.lane, row.tenant_id) == (True, Lane.BATCH, "acme")
    assert row.expires_at is not None
    assert timezone.now() < row.expires_at <= timezone.now() + LIFE


def test_a_later_attempt_ends_the_key_of_the_one_before(batch: Batch) -> None:
    fence = claimed(batch)
    first, second = open_key(batch.pk, fence), open_key(batch.pk, fence)
    assert list(ApiKey.objects.filter(internal=True, revoked_at=None)) == [second.row]
    assert Batch.objects.get(pk=batch.pk).internal_keys == [first.row.pk, second.row.pk]


def test_who_lost_the_batch_gets_none(batch: Batch) -> None:
    fence = claimed(batch)
    with pytest.raises(BatchLost):
        open_key(batch.pk, fence + 1)
    assert not ApiKey.objects.filter(internal=True).exists()


def test_its_limits_are_those_of_the_key_that_made_the_batch(acme: Caller, batch: Batch) -> None:
    ApiKey.objects.filter(pk=acme.key.pk).update(monthly_budget_micros=100, tokens_per_minute=9)
    row = open_key(batch.pk, claimed(batch)).row
    assert row.limits_of == acme.key
    assert (row.monthly_budget_micros, row.tokens_per_minute, row.requests_per_minute) == (None, None, None)


def test_it_is_renewed_when_half_its_life_is_over_and_not_once_it_was_revoked(batch: Batch) -> None:
    key = open_key(batch.pk, claimed(batch))
    first = key.row.expires_at
    assert extend(key)
    assert key.row.expires_at == first
    key.row.expires_at = timezone.now() + LIFE / 3
    assert extend(key)
    stored = ApiKey.objects.get(pk=key.row.pk).expires_at
    assert stored is not None
    assert stored > timezone.now() + LIFE / 2
    revoke(key.row)
    key.row.expires_at = timezone.now()
    assert not extend(key)
