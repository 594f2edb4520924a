"""The first rows: made once, kept, and made anew only where the database no longer knows them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from appliance.first_rows import (
    OPERATOR,
    ensure_base,
    ensure_deployment,
    ensure_first_login,
    register_model,
    register_slot,
)
from appliance.fleet.models import Deployment
from appliance.tenants.models import SYSTEM_TENANT, ApiKey, Tenant, User

pytestmark = pytest.mark.usefixtures("db")


def test_a_second_start_keeps_the_first_login(tmp_path: Path) -> None:
    path = tmp_path / "first-login.json"
    first = ensure_first_login(path)
    assert ensure_first_login(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert User.objects.get(username=OPERATOR).check_password(first.password)
    assert ApiKey.objects.count() == 1
    assert Tenant.objects.filter(id=SYSTEM_TENANT).exists()


def test_a_password_the_operator_changed_is_not_shown_or_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "first-login.json"
    ensure_first_login(path)
    operator = User.objects.get(username=OPERATOR)
    operator.set_password("a word of my own choice")
    operator.save()
    assert ensure_first_login(path).password == ""
    assert User.objects.get(username=OPERATOR).check_password("a word of my own choice")


def test_a_revoked_first_key_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "first-login.json"
    first = ensure_first_login(path)
    ApiKey.objects.update(revoked_at="2026-01-01T00:00:00Z")
    assert ensure_first_login(path).api_key != first.api_key


def test_an_operators_changes_to_a_deployment_stay() -> None:
    ensure_base()
    slot = register_slot("cpu-1", "cpu", "1", Path("/s"), "d")
    model = register_model("m", Path("/m"), "d", "preset", 512, False)
    ensure_deployment(model, slot, ("--a",), 512)
    Deployment.objects.update(replicas=3, flags=["--b"])
    newer = register_slot("cpu-2", "cpu", "2", Path("/s2"), "e")
    row = ensure_deployment(model, newer, ("--a",), 512)
    assert (row.replicas, row.flags, row.slot) == (3, ["--b"], newer)


def test_a_version_that_is_served_stays() -> None:
    slot = register_slot("cpu-1", "cpu", "1", Path("/s"), "d")
    upgraded = ensure_deployment(register_model("m", Path("/m2"), "new", "", 512, False), slot, (), 512)
    ours = register_model("m", Path("/m1"), "old", "", 512, False)
    assert ensure_deployment(ours, slot, (), 512) == upgraded
    assert list(Deployment.objects.values_list("model__digest", flat=True)) == ["new"]


def test_a_version_that_an_upgrade_brings_is_left_alone() -> None:
    slot = register_slot("cpu-1", "cpu", "1", Path("/s"), "d")
    ours = register_model("m", Path("/m1"), "old", "", 512, False)
    ensure_deployment(ours, slot, (), 512)
    coming = register_model("m", Path("/m2"), "new", "", 512, False)
    Deployment.objects.create(model=coming, slot=slot, max_model_len=512, serves=False)
    ensure_deployment(ours, slot, (), 512)
    assert set(Deployment.objects.filter(running=True).values_list("model__digest", "serves")) == {
        ("old", True), ("new", False),
    }  # fmt: skip
