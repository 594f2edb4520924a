"""`/user/balance`: DeepSeek's shape, and no amount that nobody keeps."""

from __future__ import annotations

from appliance.api.app import api
from tests.appliance.api.callers import Caller, refused
from tests.appliance.api.used import used


def test_nothing_is_paid_ahead_so_no_amount_is_named(acme: Caller) -> None:
    used(acme)
    for path in ("/user/balance", "/v1/user/balance", "/v1/user/balance/"):
        assert acme.get(path) == {"is_available": True, "balance_infos": []}


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
