"""What Redis is told of the ledger: raised where it knew less, never lowered, nothing of another window."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.conf import settings

from appliance.ledger.models import LedgerEntry
from appliance.ledger.seeds import seed
from appliance.tenants.keys import KeyLimits, mint
from appliance.tenants.models import Plan, Tenant
from inference.gateway.limits.gates import Kind
from inference.gateway.limits.scripts import PREFIX

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(settings.ENV.redis_dsn())
    yield client
    for key in client.scan_iter(f"{PREFIX}*"):
        client.delete(key)


@pytest.fixture
def tenant(db: None) -> Tenant:
    plan = Plan.objects.create(
        name="limited", tokens_per_day=10_000, tokens_per_month=20_000, monthly_budget_micros=1_000_000,
        input_price_micros=1_000_000, cached_price_micros=100_000, output_price_micros=2_000_000,
    )  # fmt: skip
    return Tenant.objects.create(id="acme", name="Acme", plan=plan)


def book(tenant: Tenant, at: datetime, prompt: int, completion: int, key_id: str | None = None) -> None:
    LedgerEntry.objects.create(
        request_id=f"req-{uuid.uuid4()}", tenant_id=tenant.pk, key_id=key_id, model="m", endpoint="chat", started_at=at,
        finished_at=at, prompt_tokens=prompt, cached_tokens=0, completion_tokens=completion, engine_prompt_tokens=prompt,
        outcome="completed", http_status=200,
    )  # fmt: skip


def used(client: redis.Redis, scope: str, kind: Kind) -> int:
    return int(client.hget(f"{PREFIX}{scope}", kind) or 0)


def test_a_redis_that_lost_everything_learns_what_was_used(client: redis.Redis, tenant: Tenant) -> None:
    now = datetime.now(UTC)
    key, _ = mint(tenant, "laptop")
    key.monthly_budget_micros = 500
    key.save()
    of_batch, _ = mint(tenant, "batch", limits_of=key)
    book(tenant, now, 60, 10, str(key.pk))
    book(tenant, now, 40, 0, str(of_batch.pk))
    book(tenant, now, 50, 0)
    assert seed(client, now) == 4
    assert used(client, "t:acme", Kind.DAY) == used(client, "t:acme", Kind.MONTH) == 160
    assert used(client, "t:acme", Kind.SPEND) == 170
    assert used(client, f"k:{key.pk}", Kind.SPEND) == 120
    assert seed(client, now) == 0


def test_what_redis_counts_beyond_the_ledger_stays(client: redis.Redis, tenant: Tenant) -> None:
    now = datetime.now(UTC)
    book(tenant, now, 100, 0)
    seed(client, now)
    client.hset(f"{PREFIX}t:acme", Kind.DAY, 900)
    seed(client, now)
    assert used(client, "t:acme", Kind.DAY) == 900


def test_another_months_use_and_another_tenants_do_not_count(client: redis.Redis, tenant: Tenant) -> None:
    now = datetime.now(UTC)
    book(tenant, now - timedelta(days=40), 700, 0)
    book(Tenant.objects.create(id="rival", name="Rival", plan=tenant.plan), now, 600, 0)
    seed(client, now)
    assert used(client, "t:acme", Kind.MONTH) == 0
    assert used(client, "t:rival", Kind.MONTH) == 600


def test_sums_of_a_window_that_is_over_by_now_are_left_alone(client: redis.Redis, tenant: Tenant) -> None:
    then = datetime.now(UTC) - timedelta(days=40)
    book(tenant, then, 700, 0)
    assert seed(client, then) == 0


def test_a_keys_own_day_and_month_are_told_too(client: redis.Redis, tenant: Tenant) -> None:
    now = datetime.now(UTC)
    key, _ = mint(tenant, "laptop", limits=KeyLimits(tokens_per_day=100, tokens_per_month=1000))
    of_batch, _ = mint(tenant, "batch", limits_of=key)
    book(tenant, now, 60, 10, str(key.pk))
    book(tenant, now, 5, 0, str(of_batch.pk))
    book(tenant, now, 50, 0)
    seed(client, now)
    assert used(client, f"k:{key.pk}", Kind.DAY) == used(client, f"k:{key.pk}", Kind.MONTH) == 75
    assert used(client, f"k:{key.pk}", Kind.SPEND) == 0
