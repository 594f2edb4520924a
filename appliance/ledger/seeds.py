"""Tells Redis what the ledger knows was used of days, months and budgets, so that a Redis that lost everything counts on.

A counter is only ever raised: what it holds beyond the ledger are requests that run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import redis
from django.db.models import Q, QuerySet, Sum
from django.db.models.expressions import RawSQL

from appliance.ledger.models import LedgerEntry
from appliance.tenants.models import SYSTEM_TENANT, ApiKey, Plan, Tenant
from inference.gateway.limits.gates import Kind
from inference.gateway.limits.scripts import PREFIX, SCRIPTS

TIMEOUT_S = 1.0
# Per request and rounded up, as the gateway counts it.
COST = (
    "ceil(((prompt_tokens - least(cached_tokens, prompt_tokens)) * %s::numeric + least(cached_tokens, prompt_tokens) * %s"
    " + completion_tokens * %s) / 1000000)"
)


@dataclass(frozen=True)
class Seed:
    """A scope's counter: how it counts, when its window ends (Unix microseconds), what was used in it."""

    scope: str
    kind: Kind
    ends: int
    used: int


def seed(client: redis.Redis, now: datetime) -> int:
    """Raise Redis' counters to the ledger's sums; returns how many were too low.

    Raises: redis.RedisError.
    """
    seeds = list(seeds_at(now))
    if not seeds:
        return 0
    keys = [PREFIX + one.scope for one in seeds]
    values = [value for one in seeds for value in (one.kind.value, one.ends, one.used)]
    script = SCRIPTS["seed"]
    try:
        return int(client.evalsha(script.digest, len(keys), *keys, *values))
    except redis.exceptions.NoScriptError:
        return int(client.eval(script.text, len(keys), *keys, *values))


def seeds_at(now: datetime) -> Iterator[Seed]:
    """Of every limit of a day or a month that somebody has, what the ledger says."""
    now = now.astimezone(UTC)
    limited = Q(plan__tokens_per_day__gt=0) | Q(plan__tokens_per_month__gt=0) | Q(plan__monthly_budget_micros__gt=0)
    for tenant in Tenant.objects.filter(limited, is_active=True).exclude(pk=SYSTEM_TENANT).select_related("plan"):
        rows = LedgerEntry.objects.filter(tenant_id=tenant.pk)
        yield from _seeds(f"t:{tenant.pk}", tenant.plan, tenant.plan, rows, now)
    of_keys = (
        Q(tokens_per_day__isnull=False) | Q(tokens_per_month__isnull=False) | Q(monthly_budget_micros__isnull=False)
    )
    keys = ApiKey.objects.filter(of_keys, revoked_at=None, tenant__is_active=True)
    for key in keys.exclude(tenant_id=SYSTEM_TENANT).select_related("tenant__plan"):
        ids = ApiKey.objects.filter(Q(pk=key.pk) | Q(limits_of=key)).values_list("pk", flat=True)
        rows = LedgerEntry.objects.filter(tenant_id=key.tenant_id, key_id__in=[str(one) for one in ids])
        yield from _seeds(f"k:{key.pk}", key, key.tenant.plan, rows, now)


def _seeds(
    scope: str, limited: Plan | ApiKey, plan: Plan, rows: QuerySet[LedgerEntry], now: datetime
) -> Iterator[Seed]:
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    tomorrow, next_month = _micros(day + timedelta(days=1)), _micros((month + timedelta(days=32)).replace(day=1))
    if limited.tokens_per_day is not None:
        yield Seed(scope, Kind.DAY, tomorrow, _tokens(rows, day))
    if limited.tokens_per_month is not None:
        yield Seed(scope, Kind.MONTH, next_month, _tokens(rows, month))
    if limited.monthly_budget_micros is not None:
        yield Seed(scope, Kind.SPEND, next_month, cost_since(rows, month, plan))


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def _tokens(rows: QuerySet[LedgerEntry], since: datetime) -> int:
    sums = rows.filter(finished_at__gte=since).order_by().aggregate(p=Sum("prompt_tokens"), c=Sum("completion_tokens"))
    return int(sums["p"] or 0) + int(sums["c"] or 0)


def cost_since(rows: QuerySet[LedgerEntry], since: datetime, plan: Plan) -> int:
    """What the rows that ended since then cost at a plan's prices, in micro-units."""
    prices = (plan.input_price_micros, plan.cached_price_micros, plan.output_price_micros)
    costs = rows.filter(finished_at__gte=since).order_by().annotate(cost=RawSQL(COST, prices))  # noqa: S611 - fixed text
    return int(costs.aggregate(sum=Sum("cost"))["sum"] or 0)
