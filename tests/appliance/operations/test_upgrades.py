"""Upgrades over real rows, with the real plan and store: killed at every move, broken versions, two operators, the way back.

Engines are left out here, and with them the smoke test and the request through the gateway; the demo has both.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections, transaction
from django.utils import timezone

from appliance.audit.models import AuditEntry
from appliance.first_rows import ensure_base, ensure_deployment, register_model, register_slot
from appliance.fleet import canaries, deployments, leases
from appliance.fleet.errors import DeploymentBusy
from appliance.fleet.models import Deployment, EngineLife, Replica
from appliance.operations import engines, facts, probe, upgrades
from appliance.operations.alone import alone, holder
from appliance.operations.errors import NoSuchUpgrade, UpgradeBusy, UpgradeRefused
from appliance.operations.models import StepState, Upgrade, UpgradeStep
from appliance.operations.upgrade_steps import STEPS, canary
from appliance.operations.upgrade_steps.base import RowStep
from appliance.operations.upgrade_steps.switch import Switch
from appliance.operations.upgrades import Trial, Watch
from appliance.registry.models import Adapter, AdapterState, ModelVersion
from appliance.tenants.acts import create_plan, create_tenant
from appliance.tenants.models import ApiKey, Plan, Tenant
from ops.bundle.build import Wanted, build
from ops.bundle.errors import BundleRefused
from ops.bundle.keys import Keys
from ops.models import manifest
from ops.upgrade import ledger
from ops.upgrade.errors import StepFailed
from ops.upgrade.preflight import Allowed
from tests.appliance.operations.row_pool import RowPool, served_digest
from tests.ops.bundle.conftest import write_keys, write_model
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("db")
NAME = "coder"
NOTHING = Allowed()


class Killed(BaseException):
    """A SIGKILL, as far as Python can tell."""


class Quiet(RowStep):
    """No engine to ask."""

    name = "smoke"


class Unproven(Switch):
    """No gateway to ask."""

    def verify(self) -> None:
        """Nothing."""


@dataclass
class Site:
    """An appliance with one served model, a signer, and a pool."""

    root: Path
    keys: Keys
    pool: RowPool
    old: ModelVersion

    def bundle(self, seed: int = 2, **wanted: object) -> Path:
        model = write_model(self.root / f"model-{seed}", seed=seed)
        out = self.root / f"bundle-{seed}"
        said = Wanted(**({"name": NAME, "max_model_len": 512} | wanted))  # type: ignore[arg-type]
        build(out, self.keys, model, said, now=datetime.now(UTC), lifetime=timedelta(days=1))
        return out

    def plan(self, bundle: Path, allowed: Allowed = NOTHING, trial: Trial | None = None) -> Upgrade:
        return upgrades.plan(bundle, self.root / "trust", (self.root / "keys/root.json").read_bytes(), allowed, trial)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setitem(STEPS, "smoke", Quiet)
    monkeypatch.setitem(STEPS, "switch", Unproven)
    monkeypatch.setattr("appliance.operations.upgrade_steps.switch.SETTLE_S", 0.02)
    monkeypatch.setattr(engines, "LOOK_S", 0.02)
    monkeypatch.setattr(engines, "UNREAD_S", 0.0)  # nobody reads counters here
    path = write_model(tmp_path / "model-1", seed=1)
    slot = register_slot("cpu-1", "cpu", "1", Path("/s"), "d")
    old = register_model(NAME, path, manifest.read(path).digest, "", 512, False)
    deployments.serve(old, slot, ("--x",), 1, 1)
    pool = RowPool(tmp_path / "stopping", NAME)
    pool.start()
    wait_until(lambda: Replica.objects.filter(state="ready").exists())
    pool.watching = True
    yield Site(tmp_path, write_keys(tmp_path / "keys"), pool, old)
    pool.stop()
    shutil.rmtree(Path(settings.ENV.cache_dir) / "models", ignore_errors=True)


def killed_at(move: int) -> Watch:
    """A watch under which the process dies after that many moves of steps."""
    left = [move]

    def moved(_step: UpgradeStep) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return Watch(moved=moved)


def states(upgrade: Upgrade) -> dict[str, str]:
    return dict(upgrade.steps.order_by("index").values_list("name", "state"))


def acts() -> list[str]:
    return list(
        AuditEntry.objects.filter(action__startswith="upgrade.").order_by("seq").values_list("action", flat=True)
    )


def test_a_new_version_is_a_canary_first_where_the_plan_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "LOOK_S", 0.01)
    monkeypatch.setattr(canary, "POLL_S", 0.0)
    told: list[tuple[int, bool]] = []

    def tell(line: str) -> None:
        if "% of the requests" in line:
            row = Deployment.objects.get(name=NAME, running=True, serves=False)
            told.append((row.canary_share, served_digest(NAME) == site.old.digest))

    first = upgrades.apply(site.plan(site.bundle(), trial=Trial(5, 0)), Watch(tell=tell))
    assert (first.state, told) == ("done", [(5, True)])
    assert list(states(first)) == ["preflight", "import", "beside", "smoke", "canary", "switch", "drain"]
    assert not Deployment.objects.filter(canary_share__gt=0).exists()

    def off(line: str) -> None:
        if "% of the requests" in line:
            canaries.set_share(NAME, 0)

    second = upgrades.apply(site.plan(site.bundle(3), trial=Trial(5, 60)), Watch(tell=off))
    assert second.state == "undone"
    assert "taken back" in second.reason
    assert served_digest(NAME) == first.digest


def test_the_rows_states_are_the_ledgers() -> None:
    assert {state.value for state in StepState} == {state.value for state in ledger.StepState}


def test_an_upgrade_replaces_the_version_and_the_name_is_served_all_along(site: Site) -> None:
    upgrade = upgrades.apply(site.plan(site.bundle()), Watch())
    assert (upgrade.state, upgrade.reason) == ("done", "")
    assert set(states(upgrade).values()) == {"done"}
    assert served_digest(NAME) == upgrade.digest != site.old.digest
    new = Deployment.objects.get(name=NAME, running=True)
    assert (new.flags, new.replicas, new.devices_each) == (["--x"], 1, 1)
    assert not Replica.objects.filter(deployment__model=site.old).exists()
    assert site.pool.unserved == 0
    assert acts() == ["upgrade.plan", "upgrade.apply", "upgrade.done"]
    assert holder(facts.lock_path()) == ""


def test_a_restart_of_the_appliance_keeps_the_new_version(site: Site) -> None:
    upgrade = upgrades.apply(site.plan(site.bundle()), Watch())
    slot = Deployment.objects.get(model=site.old).slot
    assert ensure_deployment(site.old, slot, ("--x",), 512).model.digest == upgrade.digest
    assert served_digest(NAME) == upgrade.digest


@pytest.mark.parametrize("move", [0, 2, 4, 6, 8, 10, 11])  # as each step has begun, and as the last is done
def test_killed_after_any_move_it_is_resumed_to_the_end(site: Site, move: int) -> None:
    planned = site.plan(site.bundle())
    with pytest.raises(Killed):
        upgrades.apply(planned, killed_at(move))
    with pytest.raises(UpgradeRefused, match="running"):
        upgrades.apply(planned, Watch())
    with pytest.raises(DeploymentBusy, match="upgrade resume"):
        deployments.withdraw(NAME)
    upgrade = upgrades.resume(Watch())
    assert upgrade.state == "done"
    assert set(states(upgrade).values()) == {"done"}
    assert served_digest(NAME) == upgrade.digest
    assert Deployment.objects.filter(name=NAME, running=True).count() == 1
    assert site.pool.unserved == 0
    with pytest.raises(NoSuchUpgrade, match="nothing to resume"):
        upgrades.resume(Watch())


@pytest.mark.parametrize("move", [0, 5, 8, 10, 11])
def test_killed_after_any_move_it_can_be_taken_back(site: Site, move: int) -> None:
    with pytest.raises(Killed):
        upgrades.apply(site.plan(site.bundle()), killed_at(move))
    upgrade = upgrades.resume(Watch(), back=True)
    assert upgrade.state == "undone"
    assert "taken back on request" in upgrade.reason
    assert served_digest(NAME) == site.old.digest
    assert Deployment.objects.filter(name=NAME, running=True).count() == 1
    assert site.pool.unserved == 0


def test_a_version_whose_engine_fails_is_taken_back_by_itself(site: Site) -> None:
    planned = site.plan(site.bundle())
    site.pool.broken.add(planned.digest)
    upgrade = upgrades.apply(planned, Watch())
    assert upgrade.state == "undone"
    assert "no such weight" in upgrade.reason
    assert states(upgrade)["beside"] == "undone"
    assert served_digest(NAME) == site.old.digest
    assert Deployment.objects.filter(name=NAME, running=True).count() == 1
    assert site.pool.unserved == 0
    assert acts()[-1] == "upgrade.undone"
    assert deployments.version_to_serve(NAME) == site.old, "what was refused is not what `model serve` means"


@pytest.mark.parametrize("move", [5, 6, 7, 10])
def test_killed_on_its_way_back_it_goes_on_backwards(site: Site, move: int) -> None:
    planned = site.plan(site.bundle())
    site.pool.broken.add(planned.digest)
    with pytest.raises(Killed):
        upgrades.apply(planned, killed_at(move))
    assert upgrades.resume(Watch()).state == "undone"
    assert served_digest(NAME) == site.old.digest
    assert site.pool.unserved == 0


def test_an_upgrade_that_cant_be_taken_back_is_failed_and_resumed_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = site.plan(site.bundle())
    site.pool.broken.add(planned.digest)
    stuck: list[Callable[[], None]] = [lambda: (_ for _ in ()).throw(OSError("the disk is gone"))]
    undo = STEPS["beside"].undo
    monkeypatch.setattr(STEPS["beside"], "undo", lambda self: stuck[0]() if stuck else undo(self))
    upgrade = upgrades.apply(planned, Watch())
    assert upgrade.state == "failed"
    assert "the disk is gone" in upgrade.reason
    assert served_digest(NAME) == site.old.digest
    assert "no such weight" in upgrade.reason, "why it failed at first is told too"
    with pytest.raises(UpgradeRefused, match="half-way"):
        site.plan(site.bundle(3))
    _upgrade_of_another_name(upgrade)
    stuck.clear()
    assert upgrades.resume(Watch()).state == "undone"
    assert Deployment.objects.filter(name=NAME, running=True).count() == 1


def _upgrade_of_another_name(like: Upgrade) -> None:
    Upgrade.objects.create(
        name="other", digest="o", strategy="beside", state="done", from_model=like.from_model, started_at=timezone.now()
    )


def test_serving_one_version_settles_an_upgrade_that_could_not_be_taken_back(site: Site) -> None:
    upgrade = site.plan(site.bundle())
    Upgrade.objects.update(state="failed", started_at=timezone.now())
    assert upgrades.interrupted() == upgrade
    deployments.serve(site.old, Deployment.objects.get().slot, (), 1, 1)
    assert upgrades.interrupted() is None
    upgrade.refresh_from_db()
    assert upgrade.state == "undone"


def test_no_fine_tune_takes_the_devices_that_the_old_version_leaves(site: Site) -> None:
    upgrade = site.plan(site.bundle())
    assert leases.any_free()
    Upgrade.objects.update(state="running", strategy="instead")
    assert leases.lease_device("job", 60) is None
    assert not leases.any_free()
    assert leases.free_devices(), "the upgrade itself still sees them"
    Upgrade.objects.update(strategy="beside")
    assert leases.lease_device("job", 60) is not None
    Upgrade.objects.update(strategy=upgrade.strategy)


def test_old_engines_are_not_ended_before_they_answered_what_they_have(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "UNREAD_S", 30.0)
    lives = EngineLife.objects.filter(ended_at=None)
    later = timezone.now() + timedelta(hours=1)
    lives.update(counters_at=later, requests_running=2, requests_waiting=1)
    told: list[str] = []

    def tell(line: str) -> None:
        assert Deployment.objects.get(model=site.old).running
        told.append(line)
        lives.update(requests_running=0, requests_waiting=0)

    engines.wait_idle(Deployment.objects.get(), tell)
    assert told == ["3 requests on the old engines"]
    lives.update(requests_running=1)
    engines.wait_idle(Deployment.objects.get(), lambda line: None, timeout_s=0.05)


def test_no_key_is_left_where_the_gateway_does_not_answer_or_its_asker_was_killed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "ANSWER_S", 0.05)
    ensure_base()
    upgrade = site.plan(site.bundle())
    with pytest.raises(StepFailed, match="no answer"):
        probe.ask_through_the_gateway(upgrade)
    keys = ApiKey.objects.filter(internal=True)
    assert [key.revoked_at is not None for key in keys] == [True]
    keys.update(revoked_at=None)
    upgrade.to_deployment = upgrade.from_deployment
    Switch(upgrade, lambda line: None).undo()
    assert not keys.filter(revoked_at=None).exists()


def test_a_rollback_goes_back_and_there_is_one_way_back_only(site: Site) -> None:
    upgrades.apply(site.plan(site.bundle()), Watch())
    back = upgrades.rollback(NAME, Allowed(repair=True), Watch())
    assert (back.state, back.rollback, served_digest(NAME)) == ("done", True, site.old.digest)
    assert site.pool.unserved == 0
    assert acts()[-2:] == ["upgrade.rollback", "upgrade.done"]
    with pytest.raises(NoSuchUpgrade, match="none to go back to"):
        upgrades.rollback(NAME, Allowed(repair=True), Watch())


def test_two_upgrades_are_rolled_back_one_after_the_other(site: Site) -> None:
    second = upgrades.apply(site.plan(site.bundle(2)), Watch())
    upgrades.apply(site.plan(site.bundle(3)), Watch())
    upgrades.rollback(NAME, Allowed(repair=True), Watch())
    assert served_digest(NAME) == second.digest
    upgrades.rollback(NAME, Allowed(repair=True), Watch())
    assert served_digest(NAME) == site.old.digest


def test_a_rollback_to_damaged_files_changes_nothing(site: Site) -> None:
    upgrade = upgrades.apply(site.plan(site.bundle()), Watch())
    (Path(site.old.path) / "config.json").write_text("{}")
    back = upgrades.rollback(NAME, Allowed(repair=True), Watch())
    assert back.state == "undone"
    assert "config.json" in back.reason
    assert served_digest(NAME) == upgrade.digest
    assert site.pool.unserved == 0


def test_without_room_it_is_refused_in_numbers_and_done_instead_where_that_is_agreed(site: Site) -> None:
    other = register_model("other", Path("/o"), "o", "", 512, False)
    deployments.serve(other, Deployment.objects.get(model=site.old).slot, (), 2, 1)
    wait_until(lambda: Replica.objects.filter(state="ready").count() == 3)
    bundle = site.bundle()
    with pytest.raises(UpgradeRefused, match=r"needs 1 devices .* 0 of 3 are free, 1 are missing"):
        site.plan(bundle)
    planned = site.plan(bundle, Allowed(interrupt=True))
    assert planned.strategy == "instead"
    upgrade = upgrades.apply(planned, Watch())
    assert (upgrade.state, served_digest(NAME)) == ("done", upgrade.digest)
    assert Deployment.objects.get(model=site.old).replicas == 1, "a rollback needs to know how many"


@pytest.mark.parametrize(("move", "broken"), [(4, False), (6, False), (12, False), (8, True), (10, True)])
def test_instead_too_is_resumed_after_a_kill(site: Site, move: int, broken: bool) -> None:
    other = register_model("other", Path("/o"), "o", "", 512, False)
    deployments.serve(other, Deployment.objects.get(model=site.old).slot, (), 2, 1)
    wait_until(lambda: Replica.objects.filter(state="ready").count() == 3)
    planned = site.plan(site.bundle(), Allowed(interrupt=True))
    if broken:
        site.pool.broken.add(planned.digest)
    with pytest.raises(Killed):
        upgrades.apply(planned, killed_at(move))
    upgrade = upgrades.resume(Watch())
    assert upgrade.state == ("undone" if broken else "done")
    assert served_digest(NAME) == (site.old.digest if broken else upgrade.digest)
    assert Deployment.objects.get(name=NAME, running=True).replicas == 1


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
