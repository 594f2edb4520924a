"""Sums over the ledger: tokens, requests and cost per tenant, model and key. Prices come from each tenant's present plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, QuerySet, Sum

from appliance.console.figures import UNKNOWN, money
from appliance.ledger.cost import Prices, Tokens, raw_cost, rounded
from appliance.ledger.models import LedgerEntry
from appliance.tenants.models import SYSTEM_TENANT, Plan, Tenant


@dataclass(frozen=True)
class Group:
    """The ledger's finest sum: one tenant, one model, one key. `raw` is unrounded, in `currency`; "" is not charged."""

    tenant: str
    model: str
    key: str
    requests: int
    tokens: Tokens
    currency: str
    raw: int


@dataclass
class Total:
    """A sum of groups under one name; costs stay apart by currency and are rounded when shown."""

    name: str
    requests: int = 0
    tokens: Tokens = field(default_factory=lambda: Tokens(0, 0, 0))
    raw: dict[str, int] = field(default_factory=dict)

    def add(self, group: Group) -> None:
        """Take one more group in."""
        self.requests += group.requests
        self.tokens += group.tokens
        if group.currency:
            self.raw[group.currency] = self.raw.get(group.currency, 0) + group.raw

    @property
    def cost(self) -> str:
        """The cost as people read it."""
        shown = [money(rounded(raw), currency) for currency, raw in sorted(self.raw.items())]
        return " + ".join(shown) if shown else UNKNOWN


def prices(plan: Plan) -> Prices:
    """The plan's prices as the pure arithmetic takes them."""
    return Prices(plan.currency, plan.input_price_micros, plan.cached_price_micros, plan.output_price_micros)


def groups(entries: QuerySet[LedgerEntry]) -> list[Group]:
    """One query: the sums of these entries."""
    rows = entries.order_by().values("tenant_id", "model", "key_id").annotate(
        requests=Count("pk"), prompt=Sum("prompt_tokens"), cached=Sum("cached_tokens"), completion=Sum("completion_tokens")
    )  # fmt: skip
    found = list(rows)
    tenants = Tenant.objects.filter(id__in={row["tenant_id"] for row in found} - {SYSTEM_TENANT}).select_related("plan")
    plans = {tenant.id: prices(tenant.plan) for tenant in tenants}
    return [_group(row, plans.get(row["tenant_id"])) for row in found]


def _group(row: Mapping[str, Any], plan: Prices | None) -> Group:
    tokens = Tokens(row["prompt"], row["cached"], row["completion"])
    return Group(
        tenant=row["tenant_id"],
        model=row["model"],
        key=row["key_id"] or "",
        requests=row["requests"],
        tokens=tokens,
        currency=plan.currency if plan else "",
        raw=raw_cost(tokens, plan) if plan else 0,
    )


def fold(found: Iterable[Group], by: Callable[[Group], str]) -> list[Total]:
    """Sums under the name that `by` gives, the most output first."""
    totals: dict[str, Total] = {}
    for group in found:
        totals.setdefault(by(group), Total(by(group))).add(group)
    return sorted(totals.values(), key=lambda total: (-total.tokens.completion, total.name))


def total(found: Iterable[Group]) -> Total:
    """Everything together."""
    everything = Total("")
    for group in found:
        everything.add(group)
    return everything
