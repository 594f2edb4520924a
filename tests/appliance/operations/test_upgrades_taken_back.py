"""Upgrades that fail or are rolled back, killed on the way too: the old version is served again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone

from appliance.fleet import deployments
from appliance.fleet.models import Deployment
from appliance.operations import upgrades
from appliance.operations.errors import NoSuchUpgrade, UpgradeRefused
from appliance.operations.models import Upgrade
from appliance.operations.upgrade_steps import STEPS
from appliance.operations.upgrades import Watch
from ops.upgrade.preflight import Allowed
from tests.appliance.operations.row_pool import served_digest
from tests.appliance.operations.upgrade_site import NAME, Killed, Site, acts, killed_at, site, states

__all__ = ["site"]
pytestmark = pytest.mark.usefixtures("db")


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
