"""`coderack preflight`, `upgrade` and `rollback`: what they print, refuse, and leave behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from django.conf import settings
from typer.testing import CliRunner

from appliance.first_rows import register_model, register_slot
from appliance.fleet import deployments
from appliance.fleet.models import Replica
from appliance.operations import facts
from appliance.operations.alone import alone
from appliance.operations.models import Upgrade
from ops.bundle.build import Wanted, build
from ops.cli.main import app
from ops.models import manifest
from tests.appliance.operations.row_pool import RowPool
from tests.ops.bundle.conftest import write_keys, write_model
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def stick(tmp_path: Path) -> Iterator[list[str]]:
    """A served model and the arguments that name its next version's bundle."""
    path = write_model(tmp_path / "model-1", seed=1)
    old = register_model("coder", path, manifest.read(path).digest, "", 512, False)
    deployments.serve(old, register_slot("cpu-1", "cpu", "1", Path("/s"), "d"), (), 1, 1)
    keys = write_keys(tmp_path / "keys")
    new = write_model(tmp_path / "model-2", seed=2)
    wanted = Wanted(name="coder", max_model_len=512)
    build(tmp_path / "stick", keys, new, wanted, now=datetime.now(UTC), lifetime=timedelta(days=1))
    pool = RowPool(tmp_path / "stopping", "coder")
    pool.start()
    wait_until(lambda: Replica.objects.filter(state="ready").exists())
    yield [str(tmp_path / "stick"), "--root", str(tmp_path / "keys/root.json"), "--trust", str(tmp_path / "trust")]
    pool.stop()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_preflight_says_what_it_looked_at_and_changes_nothing(stick: list[str], tmp_path: Path) -> None:
    done = run("preflight", *stick)
    assert done.exit_code == 0, done.output
    assert "ok       bundle: whole" in done.output
    told = json.loads(run("preflight", *stick, "--json").stdout)
    assert told["ok"]
    assert {"name", "verdict", "found", "remedy"} == set(told["findings"][0])
    assert not (tmp_path / "trust").exists()
    assert not Upgrade.objects.exists()


def test_preflight_without_a_bundle_looks_at_the_machine(db: None) -> None:
    done = run("preflight")
    assert done.exit_code == 0, done.output
    assert "upgrades: none is running" in done.output


def test_a_changed_bundle_is_a_refusal_with_an_exit_code(stick: list[str], tmp_path: Path) -> None:
    (tmp_path / "stick/targets/model/config.json").write_text("{}")
    told = run("preflight", *stick, "--json")
    assert told.exit_code == 1
    assert "config.json" in json.loads(told.stdout)["findings"][0]["found"]
    planned = run("upgrade", "plan", *stick)
    assert planned.exit_code == 1
    assert "config.json" in planned.output
    assert not Upgrade.objects.exists()


def test_a_plan_is_listed_and_shown_with_its_steps(stick: list[str]) -> None:
    planned = run("upgrade", "plan", *stick)
    assert planned.exit_code == 0, planned.output
    row = Upgrade.objects.get()
    assert f"coderack upgrade apply {str(row.pk)[:8]}" in planned.output
    assert row.created_by.startswith("cli:")
    listed = json.loads(run("upgrade", "list", "--json").stdout)
    assert [(line["model"], line["state"], line["kind"]) for line in listed] == [("coder", "planned", "upgrade")]
    shown = json.loads(run("upgrade", "show", str(row.pk)[:6], "--json").stdout)
    assert [step["name"] for step in shown["steps"]] == ["preflight", "import", "beside", "smoke", "switch", "drain"]
    assert run("upgrade", "show", str(row.pk)).exit_code == 0


def test_no_root_is_a_usage_error_and_no_plan_is_not_found(stick: list[str]) -> None:
    bundle, *_, trust = stick
    assert run("upgrade", "plan", bundle, "--trust", trust).exit_code == 2
    assert run("upgrade", "apply").exit_code == 5
    assert run("upgrade", "resume").exit_code == 5
    assert run("upgrade", "show", "abc").exit_code == 5
    assert run("rollback", "coder").exit_code == 5
    assert run("rollback", "nobody").exit_code == 5


def test_a_second_operator_gets_an_exit_code_of_their_own(stick: list[str]) -> None:
    run("upgrade", "plan", *stick)
    with alone(facts.lock_path()):
        done = run("upgrade", "apply")
    assert done.exit_code == 4
    assert "pid" in done.output


def test_an_upgrade_that_fails_tells_what_was_taken_back(stick: list[str]) -> None:
    # nothing listens on the replicas' sockets, so the smoke test fails
    run("upgrade", "plan", *stick)
    done = run("upgrade", "apply")
    assert done.exit_code == 1
    assert "smoke: replica 0 of the new version" in done.output
    assert "taken back, coder is served by version" in done.output
    assert Upgrade.objects.get().state == "undone"
    assert list((settings.ENV.journal_dir).glob("upgrade-*.jsonl")), "what was asked is in the journal"


def test_a_model_can_be_served_by_its_digest(stick: list[str], tmp_path: Path) -> None:
    new = manifest.read(tmp_path / "model-2").digest
    register_model("coder", tmp_path / "model-2", new, "", 512, False)
    assert json.loads(run("model", "serve", "coder", "--json").stdout)["digest"] != new
    assert json.loads(run("model", "serve", "coder", "--digest", new[:10], "--json").stdout)["digest"] == new
    assert json.loads(run("model", "serve", "coder", "--json").stdout)["digest"] == new
    assert run("model", "serve", "coder", "--digest", "zz").exit_code == 5
