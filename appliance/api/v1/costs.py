"""`/v1/organization/costs`: what the caller's tenant used, at the prices of its plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from ninja import Query, Router, Schema
from pydantic import Field

from appliance.api.auth import KeyRequest
from appliance.api.v1.usage_query import Range, Values, answer, buckets, sums
from appliance.ledger.buckets import Sums
from appliance.ledger.cost import Prices, Tokens, raw_cost, rounded
from appliance.tenants.models import SYSTEM_TENANT, Tenant

router = Router(tags=["Usage"])

LIMITS = (7, 180)
MICROS = 1_000_000

GroupBy = Literal["project_id", "user_id", "line_item", "api_key_id", "api_source"]


class CostsQuery(Range):
    """What costs are asked with."""

    bucket_width: Literal["1d"] = "1d"
    group_by: Annotated[list[GroupBy], Field(default_factory=list, max_length=20)]
    line_items: Values


class Amount(Schema):
    """Money: a number with at most six places, and the plan's currency in lower case."""

    value: float
    currency: str


class CostsResult(Schema):
    """One group's cost in a bucket. Names are null unless grouped by."""

    object: Literal["organization.costs.result"] = "organization.costs.result"
    amount: Amount
    line_item: str | None = None
    quantity: int | None = None
    quantity_unit: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    api_source: str | None = None


class CostsBucket(Schema):
    """A day; it has no results where nothing was used."""

    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[CostsResult]


class CostsPage(Schema):
    """A page of buckets, the oldest first."""

    object: Literal["page"] = "page"
    data: list[CostsBucket]
    has_more: bool
    next_page: str | None


@router.get("/costs", response=CostsPage, summary="Costs over time")
def costs(request: KeyRequest, asked: Query[CostsQuery]) -> dict[str, Any]:
    """What this tenant's use costs by its plan's present prices, in days."""
    tenant = request.auth.tenant
    page, end = buckets(asked, asked.bucket_width, *LIMITS)
    by_key, by_item = "api_key_id" in asked.group_by, "line_item" in asked.group_by
    columns = ["key_id"] * by_key + ["model"] * (by_item or bool(asked.line_items))
    same = {"project_id": tenant.id, "api_source": "unlabeled"}
    named = {name: value for name, value in same.items() if name in asked.group_by}
    prices = charged(tenant)
    found = sums(tenant, asked, asked.bucket_width, page, columns)
    return answer([(day, [cost | named for cost in _costs(groups, prices, asked)]) for day, groups in found], end)


def charged(tenant: Tenant) -> Prices:
    """The plan's prices; the appliance's own probes cost nobody anything."""
    plan = tenant.plan
    if tenant.id == SYSTEM_TENANT:
        return Prices(plan.currency, 0, 0, 0)
    return Prices(plan.currency, plan.input_price_micros, plan.cached_price_micros, plan.output_price_micros)


def _costs(groups: Sequence[Sums], prices: Prices, asked: CostsQuery) -> Iterator[dict[str, Any]]:
    """A bucket's results: exact sums, each rounded once."""
    by_item = "line_item" in asked.group_by
    totals: dict[tuple[str | None, str | None], tuple[int, int]] = {}
    for group in groups:
        for kind, tokens in _parts(group.tokens):
            item = f"{group.names['model']}, {kind}" if "model" in group.names else None
            if asked.line_items and item not in asked.line_items:
                continue
            name = (group.names.get("key_id"), item if by_item else None)
            raw, quantity = totals.get(name, (0, 0))
            totals[name] = raw + raw_cost(tokens, prices), quantity + tokens.prompt + tokens.completion
    for (key, item), (raw, quantity) in totals.items():
        # a double shows six places of any amount below a thousand million without an error
        amount = {"value": rounded(raw) / MICROS, "currency": prices.currency.lower()}
        counted = {"quantity": quantity, "quantity_unit": "tokens"} if by_item else {}
        yield {"amount": amount, "api_key_id": key, "line_item": item, **counted}


def _parts(tokens: Tokens) -> Iterator[tuple[str, Tokens]]:
    """The priced parts of a sum: those that are not nothing."""
    parts = {
        "input": Tokens(tokens.prompt - tokens.cached, 0, 0),
        "cached input": Tokens(tokens.cached, tokens.cached, 0),
        "output": Tokens(0, 0, tokens.completion),
    }
    yield from ((kind, part) for kind, part in parts.items() if part != Tokens(0, 0, 0))
