"""The playground: its page, and the key it gives a browser session: for whom, how long, how often, and what it opens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from appliance.audit.models import AuditEntry
from appliance.fleet.models import Deployment
from appliance.registry.models import Adapter, AdapterState
from appliance.tenants.models import ApiKey, Tenant
from tests.appliance.console import tuning
from tests.appliance.console.cast import Cast, book

ADDRESS = "/playground/key/"


@pytest.fixture(autouse=True)
def _fresh_count() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def ask(client: Client, tenant: str = "acme") -> dict[str, Any]:
    response = client.post(ADDRESS, {"tenant": tenant})
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def live() -> list[ApiKey]:
    return list(ApiKey.objects.filter(internal=True, revoked_at=None))


@pytest.mark.parametrize("person", ["operator", "owner", "developer"])
def test_it_gives_a_key_for_ten_minutes(cast: Cast, deployment: Deployment, person: str) -> None:
    answer = ask(cast.client(person))
    row = ApiKey.objects.get(digest=hashlib.sha256(answer["key"].encode()).hexdigest())
    assert (row.internal, row.tenant, row.created_by) == (True, cast.acme, getattr(cast, person))
    assert row.expires_at is not None
    assert abs(row.expires_at - timezone.now() - timedelta(minutes=10)) < timedelta(seconds=30)
    assert answer["expires_in_s"] == 600
    assert [model["name"] for model in answer["models"]] == ["tiny-coder"]


@pytest.mark.parametrize(("person", "status"), [("rival", 404), ("stranger", 404), (None, 302)])
def test_it_gives_nobody_else_one(cast: Cast, person: str, status: int) -> None:
    assert cast.client(person).post(ADDRESS, {"tenant": "acme"}).status_code == status
    assert not ApiKey.objects.exists()


def test_it_wants_the_forms_token(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.owner)
    assert client.post(ADDRESS, {"tenant": "acme"}).status_code == 403
    assert not ApiKey.objects.exists()


def test_it_leaves_a_session_one_live_key(cast: Cast) -> None:
    client = cast.client("developer")
    first, second = ask(client)["key"], ask(client)["key"]
    assert first != second
    assert [key.digest for key in live()] == [hashlib.sha256(second.encode()).hexdigest()]


def test_it_leaves_other_sessions_theirs(cast: Cast) -> None:
    ask(cast.client("developer"))
    ask(cast.client("developer"))
    ask(cast.client("owner"))
    assert len(live()) == 3


def test_it_ends_the_key_with_the_session(cast: Cast) -> None:
    client = cast.client("developer")
    ask(client)
    client.post("/logout/")
    assert live() == []


def test_it_is_written_to_the_audit_log_once_a_session_and_tenant(cast: Cast) -> None:
    client = cast.client("operator")
    for tenant in ("acme", "acme", "rivals", "acme"):
        ask(client, tenant)
    entries = list(AuditEntry.objects.filter(action="key.create").order_by("seq"))
    assert [entry.tenant_id for entry in entries] == ["acme", "rivals"]
    assert all(entry.details["internal"] is True and entry.actor == "operator" for entry in entries)


def test_it_refuses_a_tenant_that_is_switched_off(cast: Cast) -> None:
    Tenant.objects.filter(pk="acme").update(is_active=False)
    response = cast.client("owner").post(ADDRESS, {"tenant": "acme"})
    assert response.status_code == 403
    assert "switched off" in response.json()["message"]


def test_it_refuses_more_keys_than_a_person_needs(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.console.pages.playground.MOST_KEYS", 2)
    client = cast.client("owner")
    ask(client)
    ask(client)
    response = client.post(ADDRESS, {"tenant": "acme"})
    assert response.status_code == 429
    assert "Too many" in response.json()["message"]
    ask(cast.client("developer"))


def test_its_key_opens_no_files_and_no_fine_tunes(cast: Cast) -> None:
    key = ask(cast.client("developer"))["key"]
    for address in ("/v1/files", "/v1/fine_tuning/jobs"):
        assert Client(headers={"Authorization": f"Bearer {key}"}).get(address).status_code == 401
    assert Client(headers={"Authorization": f"Bearer {key}"}).delete("/v1/models/tiny-coder").status_code == 401


def test_lists_of_keys_leave_it_out(cast: Cast) -> None:
    client = cast.client("owner")
    ask(client)
    key = live()[0]
    for address in ("/tenants/acme/keys/", "/tenants/acme/"):
        assert str(key) not in client.get(address).content.decode()
    assert client.get(f"/tenants/acme/keys/{key.pk}/revoke/").status_code == 404


def test_usage_shows_all_of_them_as_one_line(cast: Cast) -> None:
    client = cast.client("owner")
    for _ in range(2):
        ask(client)
        book("acme", key_id=str(live()[0].pk), model="from-the-playground")
    book("acme", model="from-elsewhere")
    shown = client.get("/usage/").content.decode()
    assert shown.count("key=playground") == 1
    filtered = client.get("/usage/?key=playground").content.decode()
    assert filtered.count("from-the-playground</td>") == 2
    assert "from-elsewhere</td>" not in filtered


def test_making_one_sweeps_those_long_expired(cast: Cast) -> None:
    client = cast.client("owner")
    ask(client)
    old = live()[0]
    ApiKey.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(hours=1))
    ask(cast.client("developer"))
    old.refresh_from_db()
    assert old.revoked_at is not None
    ApiKey.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(days=9))
    ask(cast.client("developer"))
    assert not ApiKey.objects.filter(pk=old.pk).exists()


def test_it_offers_bases_of_the_plan_and_own_adapters(cast: Cast, deployment: Deployment) -> None:
    mine = tuning.finish(tuning.start(cast.acme), AdapterState.ACTIVE)
    tuning.finish(tuning.start(cast.rivals), AdapterState.ACTIVE)
    Adapter.objects.update(base=deployment.model)
    names = [model["name"] for model in ask(cast.client("owner"))["models"]]
    assert names == ["tiny-coder", mine.name]
    cast.plan.allowed_models = ["another"]
    cast.plan.save()
    assert ask(cast.client("owner"))["models"] == []


def test_the_page_offers_the_models_and_says_that_it_needs_javascript(cast: Cast, deployment: Deployment) -> None:
    shown = cast.client("developer").get("/playground/").content.decode()
    assert '<option value="tiny-coder"' in shown
    assert "<noscript>" in shown
    assert "sk-cr-" not in shown


def test_the_page_says_what_is_missing(cast: Cast) -> None:
    assert "No model that this tenant may use" in cast.client("owner").get("/playground/").content.decode()
    assert "belong to a tenant yet" in cast.client("stranger").get("/playground/").content.decode()
    Tenant.objects.filter(pk="acme").update(is_active=False)
    assert "switched off" in cast.client("owner").get("/playground/").content.decode()


def test_an_operator_chooses_the_tenant(cast: Cast, deployment: Deployment) -> None:
    shown = cast.client("operator").get("/playground/?tenant=rivals").content.decode()
    assert 'data-tenant="rivals"' in shown
    assert '<option value="rivals" selected>' in shown
