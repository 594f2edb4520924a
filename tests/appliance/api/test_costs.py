"""`/v1/organization/costs`: the ledger's tokens at the plan's prices, exact to the millionth."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.ledger.cost import Prices, Tokens, cost_micros
from appliance.ledger.models import LedgerEntry
from appliance.tenants.keys import mint
from appliance.tenants.models import Plan, Tenant
from tests.appliance.api.callers import MODEL, Caller, refused
from tests.appliance.api.used import NOON, days, entry, used

COSTS = "/v1/organization/costs"


@pytest.fixture(autouse=True)
def _prices(acme: Caller) -> None:
    plan = acme.tenant.plan
    plan.input_price_micros, plan.cached_price_micros, plan.output_price_micros = 1_250_000, 125_000, 3_500_000
    plan.save()


def today(caller: Caller, query: str = "") -> list[dict[str, Any]]:
    """The results of the day around NOON."""
    results: list[dict[str, Any]] = days(caller, f"{COSTS}?start_time=0{query}")[1]["results"]
    return results


def test_it_has_openais_shape_and_the_plans_prices(acme: Caller) -> None:
    used(acme, tokens=(1_000_000, 400_000, 100_000))
    answer = acme.get(f"{COSTS}?start_time={NOON - 43200}&end_time={NOON + 43200}")
    (bucket,) = answer.pop("data")
    assert answer == {"object": "page", "has_more": False, "next_page": None}
    assert bucket == {
        "object": "bucket", "start_time": NOON - 43200, "end_time": NOON + 43200,
        "results": [{
            "object": "organization.costs.result", "amount": {"value": 1.15, "currency": "cny"}, "line_item": None,
            "quantity": None, "quantity_unit": None, "project_id": None, "user_id": None, "api_key_id": None,
            "api_source": None,
        }],
    }  # fmt: skip


def test_its_line_items_are_the_models_parts(acme: Caller) -> None:
    used(acme, tokens=(1_000_000, 400_000, 100_000))
    used(acme, model="ft:x", tokens=(8, 0, 0))
    shown = {one["line_item"]: (one["amount"]["value"], one["quantity"]) for one in today(acme, "&group_by=line_item")}
    assert shown == {
        f"{MODEL}, input": (0.75, 600_000), f"{MODEL}, cached input": (0.05, 400_000), f"{MODEL}, output": (0.35, 100_000),
        "ft:x, input": (0.00001, 8),
    }  # fmt: skip
    (one,) = today(acme, f"&line_items={MODEL}, output&line_items[]=ft:x, input&line_items=nothing")
    assert (one["amount"]["value"], one["line_item"], one["quantity"]) == (0.35001, None, None)


def test_it_groups_by_key_and_project(acme: Caller) -> None:
    other, _ = mint(acme.tenant, "second")
    used(acme, tokens=(8, 0, 0))
    used(acme, tokens=(16, 0, 0), key_id=str(other.pk))
    shown = today(acme, "&group_by[]=api_key_id&group_by[]=project_id")
    values = {one["api_key_id"]: one["amount"]["value"] for one in shown}
    assert values == {str(acme.key.pk): 0.00001, str(other.pk): 0.00002}
    assert {one["project_id"] for one in shown} == {"acme"}
    assert [one["amount"]["value"] for one in today(acme, f"&api_key_ids={other.pk}")] == [0.00002]


def test_it_is_rounded_once_and_not_for_each_request(acme: Caller) -> None:
    for _ in range(8):
        used(acme, tokens=(1, 0, 0))  # 1.25 millionths each
    assert [one["amount"]["value"] for one in today(acme)] == [0.00001]


def test_more_cached_tokens_than_input_cost_as_much_as_the_input(acme: Caller) -> None:
    used(acme, tokens=(80, 100, 0))  # a lower bound of an engine that was lost
    used(acme, tokens=(8, 0, 0))
    assert [one["amount"]["value"] for one in today(acme)] == [0.00002]


def test_the_appliances_own_probes_cost_nothing(acme: Caller) -> None:
    system = Caller(*mint(Tenant.objects.create(id="system", name="System", plan=acme.tenant.plan), "probe"))
    used(system)
    assert [one["amount"]["value"] for one in today(system)] == [0]
    assert today(acme) == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("", "start_time"),
        ("start_time=10&bucket_width=1h", "bucket_width"),
        ("start_time=10&limit=181", "limit"),
        ("start_time=10&group_by=model", "group_by"),
        ("start_time=10&end_time=1", "end_time"),
        ("start_time=10&page=page_", "page"),
    ],
)
def test_a_malformed_query_is_told_which_part(acme: Caller, query: str, param: str) -> None:
    assert refused(acme.call("GET", f"{COSTS}?{query}"), 400)["param"] == param


count = st.integers(0, 10**9)
price = st.integers(0, 10**8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tokens=st.lists(st.tuples(count, count, count), min_size=1, max_size=8), prices=st.tuples(price, price, price))
def test_it_is_what_the_ledgers_rows_cost_together(
    acme: Caller, tokens: list[tuple[int, int, int]], prices: tuple[int, int, int]
) -> None:
    LedgerEntry.objects.all().delete()
    LedgerEntry.objects.bulk_create(entry(acme, tokens=(most, min(part, most), out)) for most, part, out in tokens)
    Plan.objects.filter(pk=acme.tenant.plan_id).update(
        input_price_micros=prices[0], cached_price_micros=prices[1], output_price_micros=prices[2]
    )
    total = sum((Tokens(most, min(part, most), out) for most, part, out in tokens), Tokens(0, 0, 0))
    due = cost_micros(total, Prices("CNY", *prices))
    values = [Decimal(repr(one["amount"]["value"])) for one in today(acme)]
    assert sum(values) == Decimal(due) / 1_000_000
    items = today(acme, "&group_by=line_item")
    assert abs(sum(Decimal(repr(one["amount"]["value"])) for one in items) - sum(values)) <= Decimal("0.000002")
