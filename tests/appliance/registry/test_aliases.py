"""A tenant's names for models: set, refused, compared, removed, and told to the gateway."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.fleet.models import Deployment
from appliance.ledger.models import LedgerEntry
from appliance.registry import aliases
from appliance.registry.aliases import AliasState, set_alias
from appliance.registry.errors import AliasRefused
from appliance.registry.models import Adapter, AdapterState, Alias, EngineSlot, ModelVersion
from appliance.tenants.models import Plan, Tenant
from appliance.training import adapters
from inference.gateway.directory import Snapshot
from inference.gateway.directory_feed import load_snapshot
from ops.cli.main import app
from ops.cli.printing import Exit

pytestmark = pytest.mark.usefixtures("acme")
OLD, NEW, THEIRS, WAITING = "ft:m:acme:old:1", "ft:m:acme:new:2", "ft:m:rivals:own:3", "ft:m:acme:late:4"


@pytest.fixture
def acme(db: None) -> Tenant:
    """Two tenants with adapters on one served base."""
    slot = EngineSlot.objects.create(name="cpu-1", flavour="cpu", engine_version="1", path="/s", digest="d")
    base = ModelVersion.objects.create(name="m", path="/models/m", digest="d", max_model_len=512)
    Deployment.objects.create(model=base, slot=slot, max_model_len=512)
    plan = Plan.objects.create(name="p")
    tenants = {name: Tenant.objects.create(id=name, name=name, plan=plan) for name in ("acme", "rivals")}
    for name in (OLD, NEW, THEIRS, WAITING):
        state = AdapterState.WAITING if name == WAITING else AdapterState.ACTIVE
        Adapter.objects.create(
            name=name, tenant=tenants[name.split(":")[2]], base=base, path="/a", digest="e", rank=8, state=state
        )
    return tenants["acme"]


def shown(tenant: Tenant, name: str = "editors") -> tuple[str, str, int]:
    row = Alias.objects.get(tenant=tenant, name=name)
    return row.target, row.canary, row.share


def snapshot() -> Snapshot:
    async def read() -> Snapshot:
        dsn = f"{settings.ENV.database_dsn()}&dbname={connection.settings_dict['NAME']}"
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as reader:
            return await load_snapshot(reader)

    return asyncio.run(read())


def test_the_gateways_directory_has_it_with_its_models(acme: Tenant) -> None:
    before = snapshot().generation
    row = set_alias(acme, "editors", to=OLD, canary=NEW, share=20)
    set_alias(acme, "plain", to="m")
    found = snapshot()
    assert found.generation > before
    alias = found.aliases[("acme", "editors")]
    assert alias.canary is not None
    assert (alias.model, alias.canary.model, alias.canary.share) == (found.models[OLD], found.models[NEW], 20)
    assert alias.created == int(row.created_at.timestamp())
    assert (found.aliases[("acme", "plain")].model, found.aliases[("acme", "plain")].canary) == (
        found.models["m"],
        None,
    )
    assert set(found.aliases) == {("acme", "editors"), ("acme", "plain")}
    for name in (OLD, NEW):
        adapters.withdraw(Adapter.objects.get(name=name))
    alias = snapshot().aliases[("acme", "editors")]
    assert (alias.model, alias.to, alias.canary) == (None, OLD, None)


def test_the_gateways_role_may_read_it() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_table_privilege('coderack_gateway', 'gateway_aliases', 'SELECT')")
        assert cursor.fetchone() == (True,)
        cursor.execute("SELECT has_table_privilege('coderack_gateway', 'registry_alias', 'SELECT')")
        assert cursor.fetchone() == (False,)


def test_one_act_moves_it_and_one_takes_a_canary_back(acme: Tenant) -> None:
    set_alias(acme, "editors", to=OLD, canary=NEW, share=20)
    since = Alias.objects.get().canary_since
    set_alias(acme, "editors", share=50)
    assert (shown(acme), Alias.objects.get().canary_since) == ((OLD, NEW, 50), since)
    set_alias(acme, "editors", share=0)
    assert (shown(acme), Alias.objects.get().canary_since) == ((OLD, "", 0), None)
    set_alias(acme, "editors", canary="m", share=5)
    assert shown(acme) == (OLD, "m", 5)
    set_alias(acme, "editors", to=NEW)
    set_alias(acme, "editors", to=NEW)
    assert shown(acme) == (NEW, "", 0)
    entries = AuditEntry.objects.filter(action="alias.set", tenant_id="acme", subject="editors")
    assert entries.count() == 5


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("ft:m:acme:x:1", {"to": OLD}), ("m", {"to": OLD}), (OLD, {"to": OLD}), ("", {"to": OLD}), ("a/", {"to": OLD}),
        ("a" * 201, {"to": OLD}), ("a b", {"to": OLD}), ("/a", {"to": OLD}), ("é", {"to": OLD}), ("a\n", {"to": OLD}),
        ("x", {}), ("x", {"to": "nothing"}), ("x", {"to": THEIRS}), ("x", {"to": WAITING}), ("x", {"to": "other"}),
        ("x", {"to": OLD, "canary": NEW}), ("x", {"to": OLD, "canary": NEW, "share": 51}),
        ("x", {"to": OLD, "canary": NEW, "share": -1}), ("x", {"to": OLD, "share": 5}),
        ("x", {"to": OLD, "canary": OLD, "share": 5}), ("x", {"to": OLD, "canary": THEIRS, "share": 5}),
    ],
)  # fmt: skip
def test_it_refuses_what_cannot_be(acme: Tenant, name: str, more: dict[str, Any]) -> None:
    set_alias(acme, "other", to=OLD)
    with pytest.raises(AliasRefused):
        set_alias(acme, name, **more)
    assert list(Alias.objects.values_list("name", flat=True)) == ["other"]


def test_it_refuses_a_model_outside_the_plan(acme: Tenant) -> None:
    acme.plan.allowed_models = [NEW]
    with pytest.raises(AliasRefused, match="plan"):
        set_alias(acme, "editors", to=OLD)
    set_alias(acme, "editors", to=NEW)
    assert aliases.targets(acme) == [NEW]


def test_both_tenants_may_have_the_same_name(acme: Tenant) -> None:
    rivals = Tenant.objects.get(pk="rivals")
    set_alias(acme, "editors", to=OLD)
    set_alias(rivals, "editors", to=THEIRS)
    aliases.remove_alias(rivals, "editors")
    assert shown(acme) == (OLD, "", 0)


def test_its_state_says_what_is_wrong(acme: Tenant) -> None:
    row = set_alias(acme, "editors", to=OLD, canary=NEW, share=20)
    assert aliases.state(row, aliases.served(acme)) is AliasState.SERVES
    assert adapters.withdraw(Adapter.objects.get(name=NEW)) == ["editors"]
    assert aliases.state(row, aliases.served(acme)) is AliasState.CANARY_GONE
    assert adapters.withdraw(Adapter.objects.get(name=OLD)) == ["editors"]
    assert aliases.state(row, aliases.served(acme)) is AliasState.TARGET_GONE
    assert AuditEntry.objects.filter(action="adapter.withdraw").latest("pk").details["aliases"] == "editors"
    hidden = Alias(tenant=acme, name="m", target=OLD)
    assert aliases.state(hidden, aliases.served(acme)) is AliasState.HIDDEN


def book(tenant: str, model: str, outcome: str, ttft_ms: int, *, hours_ago: int = 0) -> None:
    at = timezone.now() - timedelta(hours=hours_ago)
    LedgerEntry.objects.create(
        request_id=str(uuid.uuid4()), tenant_id=tenant, model=model, endpoint="chat", started_at=at, finished_at=at,
        prompt_tokens=1, cached_tokens=0, completion_tokens=1, engine_prompt_tokens=1, outcome=outcome, http_status=200,
        ttft_ms=ttft_ms,
    )  # fmt: skip


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["alias", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_line_sets_compares_and_removes() -> None:
    facts = json.loads(run("set", "acme", "editors", "--to", OLD, "--canary", NEW, "--share", "20", "--json"))
    assert facts == {"tenant": "acme", "name": "editors", "to": OLD, "canary": NEW, "share": 20, "state": "serves"}
    for number in range(4):
        book("acme", OLD, "completed", 100 + number)
        book("acme", NEW, "failed" if number == 0 else "completed", 200)
    book("acme", NEW, "failed", 9_000, hours_ago=2)
    book("rivals", NEW, "failed", 9_000)
    (alias,) = json.loads(run("list", "acme", "--json"))
    assert alias["figures"] == [
        {"model": OLD, "share": 80, "requests": 4, "failed": 0.0, "ttft_p50_ms": 101.5},
        {"model": NEW, "share": 20, "requests": 4, "failed": 0.25, "ttft_p50_ms": 200.0},
    ]
    assert "101.5" in run("list", "acme")
    assert "50 % of its requests" in run("set", "acme", "editors", "--share", "50")
    assert json.loads(run("set", "acme", "editors", "--to", NEW, "--json"))["canary"] == ""
    run("remove", "acme", "editors")
    assert json.loads(run("list", "acme", "--json")) == []
    assert "no aliases" in run("list", "acme")


def test_the_command_line_refuses_with_its_codes() -> None:
    run("set", "nobody", "x", "--to", OLD, code=Exit.NOT_FOUND)
    run("set", "acme", "x", code=Exit.NOT_FOUND)
    run("set", "acme", "x", "--to", THEIRS, code=Exit.USAGE)
    run("remove", "acme", "x", code=Exit.NOT_FOUND)
    run("list", "nobody", code=Exit.NOT_FOUND)


def test_withdrawing_an_adapter_tells_of_its_aliases(acme: Tenant) -> None:
    set_alias(acme, "editors", to=OLD)
    done = CliRunner().invoke(app, ["adapter", "withdraw", OLD])
    assert done.exit_code == 0, done.output
    assert "aliases that had it: editors" in done.output
