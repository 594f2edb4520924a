"""The tenant's own books through its API: what it used, what that costs, and that it sees nobody else's."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import openai

from appliance.ledger.models import LedgerEntry
from appliance.tenants.models import ApiKey
from ops.cli.demo.cast import NORTH, SOUTH, TERMS
from ops.cli.demo.walk import Shown, StepFailed, Walk, found

METER_S = 2.0  # the meter books a request within a second
AGREE_S = 10.0
HOURS = 168


def read_usage_and_costs(walk: Walk) -> Shown:
    """Each tenant's usage is the sum of its rows in this walk; the costs are its plan's; a neighbour's key shows nothing."""
    keys = ApiKey.objects.filter(pk__in=[walk.key_ids[tenant] for tenant in TERMS])
    start = min(int(key.created_at.timestamp()) for key in keys)
    end = int(time.time())
    time.sleep(METER_S)
    measured = {tenant: _agreed(walk, tenant, start, end) for tenant in TERMS}
    if measured[NORTH] == measured[SOUTH]:
        raise StepFailed("both tenants were shown the same figures")
    for tenant, other in ((NORTH, SOUTH), (SOUTH, NORTH)):
        for filters in ({"api_key_ids": [walk.key_ids[other]]}, {"project_ids": [other]}):
            if seen := _usage(walk, tenant, start, end, **filters)["requests"]:
                raise StepFailed(f"{tenant} was shown {seen} requests of {other}")
    return Shown(
        f"{start} {end}", {**measured, "of_the_other_tenant": 0, "is_available": _balance(walk)},
        {"tenants": list(TERMS), "keys": {tenant: walk.key_ids[tenant] for tenant in TERMS}, "start": start, "end": end},
    )  # fmt: skip


def _agreed(walk: Walk, tenant: str, start: int, end: int) -> dict[str, Any]:
    """The tenant's figures, once the API and the ledger say the same."""

    def look() -> dict[str, Any] | None:
        shown = _usage(walk, tenant, start, end)
        return shown if shown["requests"] and shown == _booked(tenant, start, end) else None

    usage = found(look, AGREE_S, f"the usage that {tenant} is shown is not what the ledger holds", 0.5)
    return usage | _costs(walk, tenant, start, end)


def _booked(tenant: str, start: int, end: int) -> dict[str, int]:
    """The sums over the ledger's rows, one by one."""
    rows = [r for r in LedgerEntry.objects.filter(tenant_id=tenant) if start <= r.finished_at.timestamp() < end]
    return {
        "input_tokens": sum(row.prompt_tokens for row in rows),
        "cached_tokens": sum(min(row.cached_tokens, row.prompt_tokens) for row in rows),
        "output_tokens": sum(row.completion_tokens for row in rows),
        "requests": len(rows),
    }


def _usage(walk: Walk, tenant: str, start: int, end: int, **filters: Any) -> dict[str, int]:
    """The sums over all buckets that the tenant is shown."""
    with _client(walk, tenant) as client:
        page = client.admin.organization.usage.completions(
            start_time=start, end_time=end, bucket_width="1h", limit=HOURS, group_by=["model"], **filters
        )
    results = [result.model_dump() for bucket in page.data for result in bucket.results]
    names = {
        "input_tokens": "input_tokens", "cached_tokens": "input_cached_tokens", "output_tokens": "output_tokens",
        "requests": "num_model_requests",
    }  # fmt: skip
    return {ours: sum(result[theirs] for result in results) for ours, theirs in names.items()}


def _costs(walk: Walk, tenant: str, start: int, end: int) -> dict[str, Any]:
    """What the tenant is told that it owes, in millionths."""
    with _client(walk, tenant) as client:
        days = client.admin.organization.usage.costs(start_time=start, end_time=end, limit=31).data
    amounts = [result.model_dump()["amount"] for day in days for result in day.results]
    if {amount["currency"] for amount in amounts} != {TERMS[tenant].currency.lower()}:
        raise StepFailed(f"{tenant} is told costs in another currency: {amounts}")
    micros = sum(Decimal(repr(amount["value"])) for amount in amounts) * 1_000_000
    return {"cost_micros": int(micros), "currency": TERMS[tenant].currency}


def _balance(walk: Walk) -> bool:
    """DeepSeek's address: requests are answered, and no amount is invented."""
    with walk.client(NORTH, "/user") as client:
        answer: Any = client.get("/balance", cast_to=object)
    if answer != {"is_available": True, "balance_infos": []}:
        raise StepFailed(f"the balance is told as {answer}")
    return True


def _client(walk: Walk, tenant: str) -> openai.OpenAI:
    """OpenAI's client wants a key of its own for usage and costs; a tenant's is one."""
    return walk.client(tenant).with_options(admin_api_key=walk.keys[tenant])
