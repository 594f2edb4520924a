"""`coderack engine list`: installed slots, and which of them anything runs in."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from appliance.first_rows import register_model, register_slot
from appliance.fleet import deployments
from ops.cli.main import app


def test_it_says_which_slots_are_in_use_and_by_what(db: None) -> None:
    old = register_slot("cpu-1", "cpu", "1.0", Path("/s/cpu-1"), "a" * 64)
    new = register_slot("cpu-2", "cpu", "2.0", Path("/s/cpu-2"), "b" * 64)
    for name in ("two", "one", "gone"):
        deployments.serve(register_model(name, Path(f"/m/{name}"), name, "", 512, False), old, (), 1, 1)
    deployments.withdraw("gone")
    told = CliRunner().invoke(app, ["engine", "list", "--json"])
    assert told.exit_code == 0, told.output
    rows = {row["name"]: row for row in json.loads(told.stdout)}
    assert rows["cpu-1"]["in_use_by"] == ["one", "two"]
    assert rows["cpu-2"] == {
        "name": "cpu-2", "flavour": "cpu", "version": "2.0", "digest": new.digest, "in_use_by": [], "path": "/s/cpu-2",
    }  # fmt: skip
    for_people = CliRunner().invoke(app, ["engine", "list"]).output
    assert "one, two" in for_people
    assert "b" * 13 not in for_people


def test_it_installs_no_flavour_that_there_is_not() -> None:
    done = CliRunner().invoke(app, ["engine", "install", "nonsense"])
    assert done.exit_code == 2
    assert "use one of auto, cpu, cuda, ascend" in done.output


def test_it_says_when_none_is_installed(db: None) -> None:
    assert "make up" in CliRunner().invoke(app, ["engine", "list"]).output
