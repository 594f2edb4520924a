"""`DELETE /v1/models/{id}`: an own adapter is withdrawn; nothing else is."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from appliance.registry.models import AdapterState, Alias
from inference.gateway import errors as gateway
from tests.appliance.api.callers import MODEL, Caller, answered, refused

NOT_FOUND = gateway.model_not_found().fields()


@pytest.mark.parametrize("state", [AdapterState.ACTIVE, AdapterState.WAITING])
@pytest.mark.parametrize("written", [str, lambda name: quote(name, safe="")])
@pytest.mark.parametrize("name", ["ft:tiny-coder:acme:ours:ab12", "ft:deep/seek:acme:ours:ab12"])
def test_it_withdraws_an_own_adapter(acme: Caller, state: AdapterState, written, name: str) -> None:  # type: ignore[no-untyped-def]
    adapter = acme.adapter(state, name)
    answer = answered(acme.call("DELETE", f"/v1/models/{written(name)}"))
    assert answer == {"id": name, "object": "model", "deleted": True, "aliases": []}
    adapter.refresh_from_db()
    assert adapter.state == AdapterState.WITHDRAWN
    assert refused(acme.call("DELETE", f"/v1/models/{written(name)}/"), 404) == NOT_FOUND


@pytest.mark.parametrize("state", [AdapterState.CANDIDATE, AdapterState.REJECTED, AdapterState.WITHDRAWN])
def test_an_adapter_that_is_no_model_yet_or_any_more_is_not_found(acme: Caller, state: AdapterState) -> None:
    adapter = acme.adapter(state)
    assert refused(acme.call("DELETE", f"/v1/models/{adapter.name}"), 404) == NOT_FOUND
    adapter.refresh_from_db()
    assert adapter.state == state


def test_base_models_are_the_operators(acme: Caller) -> None:
    error = refused(acme.call("DELETE", f"/v1/models/{MODEL}"), 403)
    assert (error["type"], error["code"]) == ("permission_error", "model_not_allowed")


def test_a_model_that_the_plan_leaves_out_is_not_found(acme: Caller) -> None:
    acme.tenant.plan.allowed_models = []
    acme.tenant.plan.save()
    assert refused(acme.call("DELETE", f"/v1/models/{MODEL}"), 404) == NOT_FOUND


def test_somebody_elses_adapter_is_not_found(acme: Caller, rivals: Caller) -> None:
    adapter = acme.adapter(AdapterState.ACTIVE)
    for name in (adapter.name, "no-such", "%00"):
        assert refused(rivals.call("DELETE", f"/v1/models/{name}"), 404) == NOT_FOUND
    adapter.refresh_from_db()
    assert adapter.state == AdapterState.ACTIVE


def test_the_answer_names_the_aliases_that_had_it_and_an_alias_is_none(acme: Caller) -> None:
    adapter = acme.adapter(AdapterState.ACTIVE)
    Alias.objects.create(tenant=acme.tenant, name="editors", target=adapter.name)
    assert "alias" in refused(acme.call("DELETE", "/v1/models/editors"), 400)["message"]
    assert answered(acme.call("DELETE", f"/v1/models/{adapter.name}"))["aliases"] == ["editors"]


def test_a_key_withdraws_nothing_that_its_own_list_leaves_out(acme: Caller) -> None:
    row = acme.adapter(AdapterState.ACTIVE)
    acme.key.allowed_models = [MODEL]
    acme.key.save()
    assert refused(acme.call("DELETE", f"/v1/models/{row.name}"), 404) == NOT_FOUND
    row.refresh_from_db()
    assert row.state == AdapterState.ACTIVE
