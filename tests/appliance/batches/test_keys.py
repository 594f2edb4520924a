"""The key of a batch: its limits, its life, and that an earlier attempt's ends."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from django.utils import timezone

from appliance.batches import lease
from appliance.batches.errors import BatchLost
from appliance.batches.keys import LIFE, extend, open_key
from appliance.batches.models import Batch
from appliance.tenants.keys import revoke
from appliance.tenants.models import ApiKey, Lane
from tests.appliance.api.callers import Caller
from tests.appliance.console.cast import book

PRICE = 2_000_000  # an output token's, per million


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


def test_of_a_budget_it_gets_what_the_key_and_its_batches_left_this_month(acme: Caller, batch: Batch) -> None:
    ApiKey.objects.filter(pk=acme.key.pk).update(monthly_budget_micros=100, tokens_per_minute=9)
    fence = claimed(batch)
    first = open_key(batch.pk, fence)
    assert (first.row.monthly_budget_micros, first.row.tokens_per_minute) == (100, 9)
    for key in (acme.key, first.row):
        book("acme", 0, 10, key_id=str(key.pk))
    book("acme", 0, 10, key_id=str(acme.key.pk), at=timezone.now() - timedelta(days=40))
    book("acme", 0, 10, key_id="another")
    assert open_key(batch.pk, fence).row.monthly_budget_micros == 100 - 2 * 10 * PRICE // 1_000_000
    book("acme", 0, 1000, key_id=str(acme.key.pk))
    assert open_key(batch.pk, fence).row.monthly_budget_micros == 0


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
