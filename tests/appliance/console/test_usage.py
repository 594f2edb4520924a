"""Usage: sums, cost, filters, pages that lose and repeat nothing."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from appliance.console.paging import PAGE_SIZE
from appliance.tenants.keys import mint
from appliance.tenants.models import Plan
from tests.appliance.console.cast import Cast, book


def test_it_sums_tokens_and_cost(cast: Cast) -> None:
    book("acme", prompt=1_000_000, completion=500_000, cached_tokens=400_000)
    page = cast.client("owner").get("/usage/").content.decode()
    assert "1.64 CNY" in page  # 0.6 fresh, 0.04 cached, 1 output
    assert "1\u202f000\u202f000" in page


def test_it_keeps_currencies_apart(cast: Cast) -> None:
    cast.rivals.plan = Plan.objects.create(name="dollars", currency="USD")
    cast.rivals.save()
    book("acme", prompt=1_000_000, completion=0)
    book("rivals", prompt=1_000_000, completion=0)
    assert "1.00 CNY + 1.00 USD" in cast.client("operator").get("/usage/").content.decode()


def test_it_charges_nobody_for_the_system(cast: Cast) -> None:
    book("system", prompt=1_000_000)
    page = cast.client("operator").get("/usage/").content.decode()
    assert "system" in page
    assert "CNY" not in page


def test_it_shows_members_their_own_requests_only(cast: Cast) -> None:
    mine, theirs, systems = book("acme"), book("rivals"), book("system")
    page = cast.client("developer").get("/usage/").content.decode()
    assert mine.request_id in page
    assert theirs.request_id not in page
    assert systems.request_id not in page


@pytest.mark.parametrize("tenant", ["rivals", "system", "no-such"])
def test_it_answers_404_for_another_tenant(cast: Cast, tenant: str) -> None:
    assert cast.client("owner").get(f"/usage/?tenant={tenant}").status_code == 404


def test_it_shows_nothing_through_another_tenants_key(cast: Cast) -> None:
    key, _ = mint(cast.rivals, "hidden name")
    entry = book("rivals", key_id=str(key.pk))
    page = cast.client("owner").get(f"/usage/?key={key.pk}").content.decode()
    assert entry.request_id not in page
    assert "hidden name" not in page


def test_it_filters(cast: Cast) -> None:
    key, _ = mint(cast.acme, "ci")
    good = book("acme", key_id=str(key.pk))
    bad = book("acme", outcome="failed", model="other")
    client = cast.client("owner")
    for query, seen, unseen in (
        ("outcome=failed", bad, good),
        ("model=other", bad, good),
        (f"key={key.pk}", good, bad),
    ):
        page = client.get(f"/usage/?{query}").content.decode()
        assert seen.request_id in page
        assert unseen.request_id not in page


def test_it_keeps_to_the_window(cast: Cast) -> None:
    old = book("acme", at=timezone.now() - timedelta(hours=2))
    client = cast.client("owner")
    assert old.request_id not in client.get("/usage/?window=1h").content.decode()
    assert old.request_id in client.get("/usage/?window=24h").content.decode()


def test_it_pages_through_every_request_once(cast: Cast) -> None:
    moment = timezone.now() - timedelta(minutes=1)
    ids = {book("acme", at=moment - timedelta(seconds=n // 3)).request_id for n in range(PAGE_SIZE * 2 + 7)}
    client, seen, address = cast.client("owner"), [], "/usage/?tenant=acme"
    for _ in range(4):
        page = client.get(address).content.decode()
        seen += re.findall(r'<td class="id cut" title="(req_\w+)"', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        if not following:
            break
        address = "/usage/" + following.group(1).replace("&amp;", "&")
    assert len(seen) == len(ids)
    assert set(seen) == ids


@pytest.mark.parametrize(
    "before", ["x", "2026-13-45T00:00:00Z~r", "2026-01-01T00:00:00~r", "~", "'--", "\u0000~\u0000"]
)
def test_it_ignores_a_position_that_is_none(cast: Cast, before: str) -> None:
    entry = book("acme")
    response = cast.client("owner").get("/usage/", {"before": before})
    assert response.status_code == 200
    assert entry.request_id in response.content.decode()


@pytest.mark.parametrize("name", ["tenant", "model", "key", "outcome"])
def test_it_survives_a_nul_in_a_filter(cast: Cast, name: str) -> None:
    assert cast.client("owner").get("/usage/", {name: "a\u0000b"}).status_code in {200, 404}


def test_it_marks_a_lower_bound(cast: Cast) -> None:
    book("acme", exact=False)
    assert "≥" in cast.client("owner").get("/usage/").content.decode()
