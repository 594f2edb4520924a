"""Upgrades over real rows, with the real plan and store: killed at every move, broken versions, two operators, the way back.

Engines are left out here, and with them the smoke test and the request through the gateway; the demo has both.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from appliance.first_rows import ensure_base, ensure_deployment, register_model
from appliance.fleet import deployments, leases
from appliance.fleet.errors import DeploymentBusy
from appliance.fleet.models import Deployment, EngineLife, Replica
from appliance.operations import engines, facts, probe, upgrades
from appliance.operations.alone import holder
from appliance.operations.errors import NoSuchUpgrade, UpgradeRefused
from appliance.operations.models import StepState, Upgrade
from appliance.operations.upgrade_steps.switch import Switch
from appliance.operations.upgrades import Watch
from appliance.tenants.models import ApiKey
from ops.upgrade import ledger
from ops.upgrade.errors import StepFailed
from ops.upgrade.preflight import Allowed
from tests.appliance.operations.row_pool import served_digest
from tests.appliance.operations.upgrade_site import NAME, Killed, Site, acts, killed_at, site, states
from tests.waiting import wait_until

__all__ = ["site"]
pytestmark = pytest.mark.usefixtures("db")


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
