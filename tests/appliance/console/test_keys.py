"""Keys: shown once, kept as a digest, revoked by who may."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from appliance.registry.models import Alias
from appliance.tenants.keys import KeyLimits, mint, revoke
from appliance.tenants.models import ApiKey
from tests.appliance.console.cast import Cast, book

ADDRESS = "/tenants/acme/keys/"


def _create(client: Client, token: str = "form-1", **more: str) -> str:
    return client.post(ADDRESS, {"name": "ci", "days": "", "token": token, **more}).content.decode()


def _shown(page: str) -> str:
    found = re.search(r'id="new-key">(sk-cr-[\w-]+)<', page)
    assert found
    return found.group(1)


@pytest.mark.parametrize("person", ["owner", "operator"])
def test_it_creates_a_key_and_shows_it_once(cast: Cast, person: str) -> None:
    client = cast.client(person)
    key = _shown(_create(client))
    row = ApiKey.objects.get(tenant=cast.acme)
    assert row.digest == hashlib.sha256(key.encode()).hexdigest()
    assert row.created_by == getattr(cast, person)
    assert key not in client.get(ADDRESS).content.decode()


def test_it_shows_a_curl_line_that_carries_the_key(cast: Cast) -> None:
    page = _create(cast.client("owner"))
    assert f"Authorization: Bearer {_shown(page)}" in page


def test_it_keeps_the_key_out_of_caches_and_cookies(cast: Cast) -> None:
    response = cast.client("owner").post(ADDRESS, {"name": "ci", "token": "t"})
    assert "no-store" in response["Cache-Control"]
    assert "sk-cr-" not in str(response.cookies)


def test_it_makes_one_key_of_one_form_sent_twice(cast: Cast) -> None:
    client = cast.client("owner")
    _create(client)
    assert client.post(ADDRESS, {"name": "ci", "token": "form-1"}).status_code == 302
    assert ApiKey.objects.count() == 1


def test_it_sets_an_expiry(cast: Cast) -> None:
    _create(cast.client("owner"), days="30")
    expires_at = ApiKey.objects.get().expires_at
    assert expires_at is not None
    assert abs(expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)


@pytest.mark.parametrize("data", [{"name": ""}, {"days": "7000"}, {"name": "x" * 121}, {"token": ""}])
def test_it_refuses_a_form_that_says_nothing_or_too_much(cast: Cast, data: dict[str, str]) -> None:
    response = cast.client("owner").post(ADDRESS, {"name": "ci", "days": "", "token": "t", **data})
    assert response.status_code == 400
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(("person", "status"), [("developer", 403), ("rival", 404), ("stranger", 404), (None, 302)])
def test_it_lets_nobody_else_create_or_revoke(cast: Cast, person: str, status: int) -> None:
    key, _ = mint(cast.acme, "first")
    client = cast.client(person)
    assert client.post(ADDRESS, {"name": "mine", "token": "t"}).status_code == status
    assert client.post(f"{ADDRESS}{key.pk}/revoke/").status_code == status
    assert ApiKey.objects.get().revoked_at is None


def test_it_says_what_revoking_does_and_then_does_it(cast: Cast) -> None:
    key, _ = mint(cast.acme, "ci")
    book("acme", key_id=str(key.pk))
    client = cast.client("owner")
    page = client.get(f"{ADDRESS}{key.pk}/revoke/").content.decode()
    assert "used for 1 request" in page
    assert client.post(f"{ADDRESS}{key.pk}/revoke/").status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_it_revokes_no_key_of_another_tenant_through_the_own_address(cast: Cast) -> None:
    theirs, _ = mint(cast.rivals, "theirs")
    assert cast.client("owner").post(f"{ADDRESS}{theirs.pk}/revoke/").status_code == 404
    theirs.refresh_from_db()
    assert theirs.revoked_at is None


def test_it_says_so_when_a_key_had_been_revoked(cast: Cast) -> None:
    key, _ = mint(cast.acme, "ci")
    client = cast.client("owner")
    client.post(f"{ADDRESS}{key.pk}/revoke/")
    page = client.post(f"{ADDRESS}{key.pk}/revoke/", follow=True).content.decode()
    assert "had been revoked before" in page


LIMITS = {
    "requests_per_minute": "60", "max_concurrency": "4", "tokens_per_minute": "5000", "tokens_per_day": "",
    "tokens_per_month": "", "monthly_budget": "12.5",
}  # fmt: skip


@pytest.fixture
def editors(cast: Cast) -> Alias:
    """A name that a key can be kept to."""
    return Alias.objects.create(tenant=cast.acme, name="editors", target="m")


def test_it_creates_a_key_with_limits_and_tells_them(cast: Cast, editors: Alias) -> None:
    client = cast.client("owner")
    _create(client, **LIMITS, models="editors")
    row = ApiKey.objects.get()
    assert (row.requests_per_minute, row.max_concurrency, row.tokens_per_minute) == (60, 4, 5000)
    assert (row.tokens_per_day, row.monthly_budget_micros, row.allowed_models) == (None, 12_500_000, ["editors"])
    page = client.get(ADDRESS).content.decode()
    for told in ("60 requests per minute", "4 requests at once", "12.50 CNY per month", "only editors"):
        assert told in page


@pytest.mark.parametrize(
    "wrong",
    [{"max_concurrency": "0"}, {"tokens_per_day": "many"}, {"monthly_budget": "0.0000001"}, {"models": "nobodys"},
     {"requests_per_minute": "2147483648"}],
)  # fmt: skip
def test_it_says_what_is_wrong_with_a_limit(cast: Cast, editors: Alias, wrong: dict[str, str]) -> None:
    client = cast.client("owner")
    new = client.post(ADDRESS, {"name": "ci", "days": "", "token": "t", **LIMITS, **wrong})
    key, _ = mint(cast.acme, "first")
    changed = client.post(f"{ADDRESS}{key.pk}/limits/", LIMITS | wrong)
    for response in (new, changed):
        assert response.status_code == 400
        assert 'class="wrong"' in response.content.decode()
    row = ApiKey.objects.get()
    assert row.requests_per_minute is None


def test_it_changes_a_keys_limits_and_shows_those_it_has(cast: Cast, editors: Alias) -> None:
    key, _ = mint(cast.acme, "ci", limits=KeyLimits(max_concurrency=77, allowed_models=["gone-by-now"]))
    client = cast.client("owner")
    page = client.get(f"{ADDRESS}{key.pk}/limits/").content.decode()
    assert 'value="77"' in page
    assert re.search(r'value="gone-by-now"[^>]*checked', page)
    assert not re.search(r'value="editors"[^>]*checked', page)
    assert client.post(f"{ADDRESS}{key.pk}/limits/", {**LIMITS, "models": "editors"}).status_code == 302
    key.refresh_from_db()
    assert (key.max_concurrency, key.allowed_models, key.monthly_budget_micros) == (4, ["editors"], 12_500_000)
    client.post(f"{ADDRESS}{key.pk}/limits/", {})
    key.refresh_from_db()
    assert (key.max_concurrency, key.allowed_models, key.monthly_budget_micros) == (None, None, None)


def test_it_changes_nothing_of_a_revoked_key_or_of_another_tenants(cast: Cast) -> None:
    key, _ = mint(cast.acme, "ci")
    theirs, _ = mint(cast.rivals, "theirs")
    revoke(key)
    client = cast.client("owner")
    assert "was revoked" in client.get(f"{ADDRESS}{key.pk}/limits/").content.decode()
    client.post(f"{ADDRESS}{key.pk}/limits/", {"max_concurrency": "1"})
    assert client.post(f"{ADDRESS}{theirs.pk}/limits/", {"max_concurrency": "1"}).status_code == 404
    assert cast.client("developer").post(f"{ADDRESS}{key.pk}/limits/", {"max_concurrency": "1"}).status_code == 403
    assert not ApiKey.objects.exclude(max_concurrency=None).exists()


def test_it_says_so_where_no_model_could_be_chosen(cast: Cast) -> None:
    assert "No model is served now" in cast.client("owner").get(ADDRESS).content.decode()
