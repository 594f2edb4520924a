"""`/user/balance`: DeepSeek's shape, what is left of a budget, and no amount that nobody keeps."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from appliance.api.app import api
from tests.appliance.api.callers import Caller, refused
from tests.appliance.api.used import used


def test_without_a_budget_no_amount_is_named(acme: Caller) -> None:
    used(acme)
    for path in ("/user/balance", "/v1/user/balance", "/v1/user/balance/"):
        assert acme.get(path) == {"is_available": True, "balance_infos": []}


FIRST = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
MILLION = (1_000_000, 0, 0)  # costs 1.00 at the plan's default price


def budget(caller: Caller, micros: int) -> None:
    caller.tenant.plan.monthly_budget_micros = micros
    caller.tenant.plan.save()


@pytest.mark.parametrize("later_s", [0, 31 * 86400 - 1])
def test_what_is_left_is_the_budget_less_this_months_cost_of_all_of_the_tenants_keys(
    acme: Caller, rivals: Caller, monkeypatch: pytest.MonkeyPatch, later_s: int
) -> None:
    monkeypatch.setattr(time, "time", lambda: FIRST + later_s)
    budget(acme, 2_509_999)
    used(acme, FIRST, MILLION)
    used(acme, FIRST - 1, MILLION)  # last month's
    used(acme, FIRST, (500_000, 0, 0), key_id=None)
    used(rivals, FIRST, MILLION)
    balance = {"currency": "CNY", "total_balance": "1.00", "granted_balance": "1.00", "topped_up_balance": "0.00"}
    assert acme.get("/user/balance") == {"is_available": True, "balance_infos": [balance]}


def test_a_budget_that_is_used_up_is_zero_and_not_available(acme: Caller) -> None:
    budget(acme, 1_000_000)
    used(acme, time.time(), MILLION)
    used(acme, time.time(), MILLION)
    answer = acme.get("/v1/user/balance")
    assert answer["is_available"] is False
    assert [info["total_balance"] for info in answer["balance_infos"]] == ["0.00"]


def test_cents_are_rounded_down(acme: Caller) -> None:
    budget(acme, 1_239_999)
    assert acme.get("/user/balance")["balance_infos"][0]["total_balance"] == "1.23"


def test_its_amounts_are_described_as_deepseeks_texts() -> None:
    shape = api.get_openapi_schema(path_prefix="/v1/")["components"]["schemas"]["BalanceInfo"]["properties"]
    assert {name: field["type"] for name, field in shape.items()} == dict.fromkeys(
        ("currency", "total_balance", "granted_balance", "topped_up_balance"), "string"
    )


def test_what_goes_wrong_there_is_json(acme: Caller) -> None:
    response = acme.call("POST", "/user/balance")
    assert refused(response, 405)["type"] == "invalid_request_error"
    assert response["Allow"] == "GET"
    assert refused(acme.call("GET", "/user/other"), 404)["type"] == "invalid_request_error"
