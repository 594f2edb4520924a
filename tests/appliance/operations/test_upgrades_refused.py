"""Upgrades that are not begun: not agreed on, of the wrong kind, overtaken, or somebody else is at it."""

from __future__ import annotations

import fcntl
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connections, transaction

from appliance.fleet import deployments
from appliance.fleet.models import Deployment, Replica
from appliance.operations import facts, upgrades
from appliance.operations.alone import alone, holder
from appliance.operations.errors import UpgradeBusy, UpgradeRefused
from appliance.operations.models import Upgrade
from appliance.operations.upgrades import Watch
from appliance.registry.models import Adapter, AdapterState
from appliance.tenants.acts import create_plan, create_tenant
from appliance.tenants.models import Plan, Tenant
from inference.catalog import checkpoint
from ops.bundle.build import Wanted, build
from ops.bundle.errors import BundleRefused
from ops.upgrade.preflight import Allowed
from tests.appliance.operations.row_pool import served_digest
from tests.appliance.operations.upgrade_site import NAME, Site, site

__all__ = ["site"]
pytestmark = pytest.mark.usefixtures("db")


def test_adapters_on_the_present_version_have_to_be_agreed_on(site: Site) -> None:
    create_plan(plan := Plan(name="p"))
    create_tenant(tenant := Tenant(id="acme", name="Acme", plan=plan))
    Adapter.objects.create(
        name="ft:x", tenant=tenant, base=site.old, path="/a", digest="d", rank=8, state=AdapterState.ACTIVE
    )
    bundle = site.bundle()
    with pytest.raises(UpgradeRefused, match=r"ft:x \(acme\).*--without-adapters"):
        site.plan(bundle)
    assert site.plan(bundle, Allowed(without_adapters=True)).state == "planned"


def test_the_version_that_is_served_already_is_refused(site: Site) -> None:
    with pytest.raises(UpgradeRefused, match="served already"):
        site.plan(_same(site))


def _same(site: Site) -> Path:
    out = site.root / "same"
    build(out, site.keys, site.root / "model-1", Wanted(name=NAME), now=datetime.now(UTC), lifetime=timedelta(days=1))
    return out


def test_a_bundle_for_another_engine_or_a_name_that_is_not_served_is_refused(site: Site) -> None:
    with pytest.raises(UpgradeRefused, match="tried with cuda"):
        site.plan(site.bundle(2, engine_flavour="cuda"))
    with pytest.raises(UpgradeRefused, match="not served"):
        site.plan(site.bundle(3, name="nobody"))
    assert not Upgrade.objects.exists()


def test_a_bundle_that_was_changed_after_the_plan_is_refused_by_the_import(site: Site) -> None:
    bundle = site.bundle()
    planned = site.plan(bundle)
    with (bundle / "targets/model/model.safetensors").open("ab") as file:
        file.write(b"x")
    upgrade = upgrades.apply(planned, Watch())
    assert upgrade.state == "undone"
    assert "model.safetensors" in upgrade.reason
    assert served_digest(NAME) == site.old.digest
    with pytest.raises(BundleRefused):
        site.plan(bundle)


def test_a_second_operator_is_told_who_is_at_it(site: Site) -> None:
    planned = site.plan(site.bundle())
    with alone(facts.lock_path()), pytest.raises(UpgradeBusy, match=r"pid \d+"):
        upgrades.apply(planned, Watch())
    assert Upgrade.objects.get().state == "planned"


def test_somebody_who_only_looks_at_the_lock_is_in_nobodys_way(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with alone(tmp_path / "lock"):
            assert holder(tmp_path / "lock") == str(os.getpid())


def test_the_pool_makes_replicas_while_somebody_holds_a_name(site: Site) -> None:
    """It holds what the holder needs next, the directory's generation: were it to wait, both would for ever."""
    row = Deployment.objects.get()

    def create() -> None:
        try:
            with transaction.atomic(), connections["default"].cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '2s'")
                Replica.objects.create(deployment=row, index=7, state="stopped")
        finally:
            connections.close_all()

    with transaction.atomic(), ThreadPoolExecutor(1) as other:
        deployments.lock_name(NAME)
        other.submit(create).result()


def test_a_newer_plan_replaces_the_older_one(site: Site) -> None:
    first = site.plan(site.bundle(2))
    second = site.plan(site.bundle(3))
    assert upgrades.find() == second
    assert upgrades.find(str(second.pk)[:8]) == second
    with pytest.raises(UpgradeRefused, match="undone"):
        upgrades.apply(first, Watch())


def test_a_plan_that_the_world_overtook_is_not_carried_out(site: Site) -> None:
    planned = site.plan(site.bundle())
    deployments.withdraw(NAME)
    upgrade = upgrades.apply(planned, Watch())
    assert upgrade.state == "undone"
    assert "not served" in upgrade.reason


@pytest.mark.parametrize("room", [True, False])
def test_a_version_that_does_not_fit_ends_and_starts_no_engine(
    site: Site, monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    if not room:
        monkeypatch.setattr(facts, "_free_for", lambda row: [])
    before = list(Replica.objects.values_list("pk", flat=True))
    monkeypatch.setattr(checkpoint, "weight_bytes", lambda path: 10**10)
    upgrade = upgrades.apply(site.plan(site.bundle(), Allowed(interrupt=True)), Watch())
    assert upgrade.state == "undone"
    assert "the machine has" in upgrade.reason
    assert list(Replica.objects.values_list("pk", flat=True)) == before
    assert served_digest(NAME) == site.old.digest
    assert site.pool.unserved == 0


def test_the_next_version_gets_the_profiles_context_too(site: Site) -> None:
    Deployment.objects.update(profile="l40s", flags=["--max-model-len", "64"])
    upgrade = upgrades.apply(site.plan(site.bundle()), Watch())
    assert upgrade.state == "done"
    assert upgrade.to_deployment is not None
    assert (upgrade.to_deployment.profile, upgrade.to_deployment.max_model_len) == ("l40s", 64)
