"""The demo's step about a tenant's own books and the checker's claim: both hold, and each sees what was changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from appliance.ledger.models import LedgerEntry
from appliance.registry.models import ModelVersion
from appliance.tenants.keys import mint
from appliance.tenants.models import ApiKey, Plan, Tenant
from ops.cli.demo import rest
from ops.cli.demo.cast import NORTH, SOUTH, TERMS
from ops.cli.demo.walk import Shown, StepFailed, Walk
from ops.cli.demo_check.evidence import Evidence
from ops.cli.demo_check.rest import own_books
from tests.appliance.api.callers import Caller
from tests.appliance.api.used import entry

PRICES = {NORTH: (1_250_000, 125_000, 3_500_000), SOUTH: (800_000, 80_000, 1_600_000)}


@pytest.fixture
def callers(base: ModelVersion) -> dict[str, Caller]:
    found = {}
    for name, terms in TERMS.items():
        fresh, cached, output = PRICES[name]
        plan = Plan.objects.create(
            name=name, currency=terms.currency, input_price_micros=fresh, cached_price_micros=cached,
            output_price_micros=output,
        )  # fmt: skip
        found[name] = Caller(*mint(Tenant.objects.create(id=name, name=name, plan=plan), "demo"))
    return found


@pytest.fixture
def walk(server: str, callers: dict[str, Caller], monkeypatch: pytest.MonkeyPatch) -> Walk:
    """A walk a minute old, in which each tenant has asked something and the meter has booked it."""
    monkeypatch.setattr(rest, "METER_S", 0.0)
    monkeypatch.setattr(rest, "AGREE_S", 0.5)
    now = timezone.now()
    ApiKey.objects.update(created_at=now - timedelta(minutes=1))
    for number, caller in enumerate(callers.values(), 3):
        rows = [entry(caller, now.timestamp() - 30 - n, (n * 7 + number, n, n * 3)) for n in range(number * 2)]
        LedgerEntry.objects.bulk_create([*rows, entry(caller, now.timestamp() - 3600)])  # and one of a former walk
    env = SimpleNamespace(host="127.0.0.1", port=urlsplit(server).port, data_dir=settings.ENV.data_dir)
    keys, ids = ({name: value(one) for name, one in callers.items()} for value in (_secret, _key_id))
    return Walk(env, lambda line: None, keys=keys, key_ids=ids)  # type: ignore[arg-type] - the address is all it reads


def _secret(caller: Caller) -> str:
    return caller.secret


def _key_id(caller: Caller) -> str:
    return str(caller.key.pk)


@pytest.fixture
def evidence(db: None) -> Iterator[Evidence]:
    with psycopg.connect(**_dsn(), autocommit=True) as own:
        yield Evidence(own, Path("/nowhere"))


def _dsn() -> dict[str, Any]:
    known = connection.get_connection_params()
    return {name: known[name] for name in ("dbname", "user", "password", "host", "port") if known.get(name)}


def kept(shown: Shown) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the report holds of a step."""
    return json.loads(json.dumps(shown.measured)), json.loads(json.dumps(shown.evidence))


def test_the_step_shows_what_the_checker_finds(walk: Walk, evidence: Evidence) -> None:
    measured, shown = kept(rest.read_usage_and_costs(walk))
    assert list(own_books(measured, shown, evidence)) == []
    assert measured[NORTH]["requests"] == 6
    assert measured[SOUTH]["requests"] == 8


FIGURES = ("requests", "input_tokens", "cached_tokens", "output_tokens", "cost_micros", "currency")


@pytest.mark.parametrize("figure", FIGURES)
def test_the_checker_sees_a_figure_that_was_changed(walk: Walk, evidence: Evidence, figure: str) -> None:
    measured, shown = kept(rest.read_usage_and_costs(walk))
    measured[SOUTH][figure] = "EUR" if figure == "currency" else measured[SOUTH][figure] + 1
    assert len(list(own_books(measured, shown, evidence))) == 1


def test_the_checker_sees_another_stretch_of_time_and_a_strangers_key(walk: Walk, evidence: Evidence) -> None:
    measured, shown = kept(rest.read_usage_and_costs(walk))
    assert list(own_books(measured, shown | {"start": shown["start"] + 45}, evidence)) != []
    swapped = {NORTH: shown["keys"][SOUTH], SOUTH: shown["keys"][NORTH]}
    assert list(own_books(measured, shown | {"keys": swapped}, evidence)) != []


def test_the_step_fails_when_the_ledger_says_otherwise(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    booked = rest._booked
    monkeypatch.setattr(rest, "_booked", lambda *asked: booked(*asked) | {"output_tokens": 1})
    with pytest.raises(StepFailed, match="not what the ledger holds"):
        rest.read_usage_and_costs(walk)


def test_the_step_fails_when_a_tenant_has_not_asked_anything(walk: Walk) -> None:
    LedgerEntry.objects.filter(tenant_id=SOUTH).delete()
    with pytest.raises(StepFailed, match=SOUTH):
        rest.read_usage_and_costs(walk)
