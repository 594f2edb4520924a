"""Claims about what tenants were told of themselves: the ledger's sums at their plans' prices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ops.cli.demo_check.evidence import NORTH, SOUTH, Evidence

FIGURES = ("requests", "input_tokens", "cached_tokens", "output_tokens")

SUMS = """
SELECT count(*) AS requests, sum(e.prompt_tokens)::bigint AS input_tokens,
  sum(least(e.cached_tokens, e.prompt_tokens))::bigint AS cached_tokens,
  sum(e.completion_tokens)::bigint AS output_tokens,
  (sum(greatest(e.prompt_tokens - e.cached_tokens, 0) * p.input_price_micros
    + least(e.cached_tokens, e.prompt_tokens) * p.cached_price_micros
    + e.completion_tokens * p.output_price_micros) + 500000)::bigint / 1000000 AS cost_micros
FROM ledger_ledgerentry e JOIN tenants_tenant t ON t.id = e.tenant_id JOIN tenants_plan p ON p.id = t.plan_id
WHERE e.tenant_id = %s AND e.finished_at >= to_timestamp(%s) AND e.finished_at < to_timestamp(%s)
GROUP BY date_trunc('day', e.finished_at AT TIME ZONE 'UTC')
"""


def own_books(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Each tenant was told its own sums since its key was made, priced by its plan, and none of the other's."""
    for tenant in (NORTH, SOUTH):
        yield from _as_booked(tenant, measured[tenant], shown, evidence)
    if measured[NORTH] == measured[SOUTH]:
        yield "both tenants were told the same"
    if measured["of_the_other_tenant"] != 0 or measured["is_available"] is not True:
        yield "a tenant was shown the other's requests, or was told that it has no balance left"


def _as_booked(tenant: str, told: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    key = evidence.one("SELECT tenant_id, created_at FROM tenants_apikey WHERE id = %s", shown["keys"][tenant])
    if key is None or key["tenant_id"] != tenant or not shown["start"] <= key["created_at"].timestamp() < shown["end"]:
        yield f"the time that is summed does not begin with a key of {tenant}"
    days = evidence.all(SUMS, tenant, shown["start"], shown["end"])
    for figure in (*FIGURES, "cost_micros"):
        booked = sum(day[figure] for day in days)
        if told[figure] != booked or (figure != "cached_tokens" and booked < 1):
            yield f"{tenant} was told {told[figure]} {figure}, the ledger makes it {booked}"
    plan = evidence.one(
        "SELECT p.currency FROM tenants_plan p JOIN tenants_tenant t ON t.plan_id = p.id WHERE t.id = %s", tenant
    )
    if plan is None or plan["currency"] != told["currency"]:
        yield f"{tenant} was told costs in {told['currency']}"
