"""Tenants: creating, searching, pages, and what a tenant's own page says."""

from __future__ import annotations

import pytest

from appliance.console.calling import curl_line, python_program
from appliance.fleet.models import Deployment
from appliance.tenants.models import Plan, Tenant
from tests.appliance.console.cast import Cast, book


def test_it_creates_a_tenant(cast: Cast) -> None:
    data = {"id": "new-team", "name": "New team", "plan": cast.plan.pk}
    response = cast.client("operator").post("/tenants/new/", data)
    assert response["Location"] == "/tenants/new-team/"
    assert Tenant.objects.get(id="new-team").is_active


@pytest.mark.parametrize("tenant_id", ["acme", "new", "Upper", "-x", "a" * 33, "a/b", ""])
def test_it_refuses_an_id_that_cannot_be(cast: Cast, tenant_id: str) -> None:
    data = {"id": tenant_id, "name": "Name", "plan": cast.plan.pk}
    response = cast.client("operator").post("/tenants/new/", data)
    assert response.status_code == 400
    assert 'class="wrong"' in response.content.decode()
    assert Tenant.objects.count() == 2
    assert Tenant.objects.get(id="acme").name == "Acme"


def test_it_lets_no_owner_create_a_tenant(cast: Cast) -> None:
    data = {"id": "mine", "name": "Mine", "plan": cast.plan.pk}
    assert cast.client("owner").post("/tenants/new/", data).status_code == 403


def test_it_searches_and_pages(cast: Cast) -> None:
    Tenant.objects.bulk_create(Tenant(id=f"team-{n:03}", name=f"Team {n}", plan=cast.plan) for n in range(120))
    client = cast.client("operator")
    assert client.get("/tenants/").content.decode().count('href="/tenants/team-') == 48  # Acme and Rivals come before
    assert "team-119" in client.get("/tenants/?page=3").content.decode()
    found = client.get("/tenants/?q=Team 77").content.decode()
    assert "team-077" in found
    assert "team-078" not in found
    assert "No tenant" in client.get("/tenants/?q=%25").content.decode()
    assert client.get("/tenants/?page=nonsense").status_code == 200


def test_it_shows_how_to_call_with_the_readers_own_address(cast: Cast, deployment: Deployment) -> None:
    page = cast.client("owner").get("/tenants/acme/", HTTP_HOST="localhost:9000").content.decode()
    assert "http://localhost:9000/v1/chat/completions" in page
    assert "tiny-coder" in page


def test_it_names_only_models_the_plan_allows(cast: Cast, deployment: Deployment) -> None:
    Plan.objects.update(allowed_models=["another"])
    assert "tiny-coder" not in cast.client("owner").get("/tenants/acme/").content.decode()


def test_it_shows_the_limits_that_the_plan_has_and_no_others(cast: Cast) -> None:
    Plan.objects.update(requests_per_minute=4321, tokens_per_day=None, monthly_budget_micros=77_500_000)
    page = cast.client("owner").get("/tenants/acme/").content.decode()
    assert "<dt>Requests per minute</dt><dd>4\u202f321</dd>" in page
    assert "77.50 CNY" in page
    assert "Tokens per day" not in page


def test_it_sums_the_month(cast: Cast) -> None:
    book("acme", prompt=2_000_000, completion=1_000_000, cached_tokens=1_000_000)
    book("rivals", prompt=5_000_000)
    page = cast.client("owner").get("/tenants/acme/").content.decode()
    assert "3.10 CNY" in page  # 1 fresh, 0.1 cached, 2 output
    assert "2\u202f000\u202f000" in page


def test_it_quotes_a_strange_model_name_for_the_shell() -> None:
    line = curl_line("http://box/v1", "it's; rm -rf /", "$KEY")
    assert "'\"'\"'" in line
    assert 'model="it' in python_program("http://box/v1", "it's")
