"""The audit page: newest first, filtered, paged, without a word for who is no operator."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.db import transaction

from appliance.audit.record import record
from tests.appliance.console.cast import Cast


def write(count: int, action: str = "key.create", tenant: str | None = "acme") -> None:
    with transaction.atomic():
        for number in range(count):
            record(action, f"thing-{number}", actor="<b>kim</b>", tenant=tenant, details={"flags": ["--a", "--b"]})


def things(page: str) -> list[str]:
    return re.findall(r"thing-\d+", page)


def test_an_empty_log_says_what_it_is_for(cast: Cast) -> None:
    page = cast.client("operator").get("/audit/").content.decode()
    assert "There is none yet" in page
    assert "<table" not in page


def test_it_shows_the_newest_first_and_escapes_names(cast: Cast) -> None:
    write(3)
    page = cast.client("operator").get("/audit/").content.decode()
    assert things(page) == ["thing-2", "thing-1", "thing-0"]
    assert "<b>kim" not in page
    assert "&lt;b&gt;kim" in page
    assert "flags: --a --b" in page


def test_it_filters_by_the_acts_beginning_and_the_tenant(cast: Cast) -> None:
    write(1)
    write(2, "job.cancel")
    write(4, "key.revoke", "rivals")
    client = cast.client("operator")
    assert len(things(client.get("/audit/?action=key.").content.decode())) == 5
    assert len(things(client.get("/audit/?action=key.&tenant=rivals").content.decode())) == 4
    assert len(things(client.get("/audit/?tenant=acme").content.decode())) == 3
    nothing = client.get("/audit/?action=%25").content.decode()
    assert "No entry matches" in nothing


def test_it_pages_through_everything_once_and_keeps_the_filter(cast: Cast) -> None:
    write(120)
    write(1, "job.cancel")
    client, address, found = cast.client("operator"), "/audit/?action=key.", []
    while address:
        page = client.get(address).content.decode()
        found += things(page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        address = f"/audit/{unescape(older.group(1))}" if older else ""
    assert found == [f"thing-{number}" for number in reversed(range(120))]


@pytest.mark.parametrize("before", ["x", "2026-01-01T00:00:00+00:00~x", "2026-01-01T00:00:00+00:00~" + "9" * 150, "~1"])
def test_a_position_that_is_none_is_no_error(cast: Cast, before: str) -> None:
    write(1)
    assert cast.client("operator").get("/audit/", {"before": before}).status_code == 200


def test_operators_find_it_in_the_navigation_and_nobody_else(cast: Cast) -> None:
    assert 'href="/audit/"' in cast.client("operator").get("/tenants/").content.decode()
    assert "/audit/" not in cast.client("owner").get("/tenants/acme/").content.decode()
