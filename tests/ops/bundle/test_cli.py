"""`coderack bundle` up to the point where a database is needed: from new keys to a verified bundle on another machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from appliance.env import REPO
from ops.cli.bundles import app
from ops.cli.printing import Exit
from tests.ops.bundle.conftest import write_model


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An appliance's directories of the test's own."""
    for name in ("data", "cache", "run"):
        monkeypatch.setenv(f"CODERACK_{name.upper()}_DIR", str(tmp_path / name))
    return tmp_path


def coderack(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """A bundle that the commands made."""
    write_model(tmp_path / "model")
    assert coderack("keygen", tmp_path / "keys").exit_code == Exit.OK
    done = coderack("build", tmp_path / "stick", "--keys", tmp_path / "keys", "--model", tmp_path / "model", "--fim")
    assert done.exit_code == Exit.OK, done.output
    return tmp_path / "stick"


def test_a_built_bundle_verifies_against_its_root(stick: Path, tmp_path: Path) -> None:
    done = coderack("verify", stick, "--root", tmp_path / "keys/root.json")
    assert done.exit_code == Exit.OK
    assert "tiny" in done.stdout
    facts = json.loads(coderack("verify", stick, "--root", tmp_path / "keys/root.json", "--json").stdout)
    assert (facts["ok"], facts["faults"], facts["bundle"]["name"]) == (True, [], "tiny")
    assert not (tmp_path / "data").exists()


def test_a_changed_bundle_fails_with_one_line_per_fault(stick: Path, tmp_path: Path) -> None:
    (stick / "targets/model/config.json").write_text("{}")
    (stick / "targets/model/nested/merges.txt").write_text("b a\n")
    done = coderack("verify", stick, "--root", tmp_path / "keys/root.json")
    assert done.exit_code == Exit.FAILED
    assert done.stdout == ""
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        "targets/model/config.json",
        "targets/model/nested/merges.txt",
    ]
    done = coderack("verify", stick, "--root", tmp_path / "keys/root.json", "--json")
    assert done.exit_code == Exit.FAILED
    assert len(json.loads(done.stdout)["faults"]) == 2


def test_without_a_root_it_says_how_to_give_one(stick: Path) -> None:
    for command in ("verify", "import"):
        done = coderack(command, stick)
        assert done.exit_code == Exit.USAGE
        assert "--root" in done.stderr


def test_a_root_that_is_not_there_is_one_line(stick: Path, tmp_path: Path) -> None:
    done = coderack("verify", stick, "--root", tmp_path / "nowhere.json")
    assert done.exit_code == Exit.FAILED
    assert len(done.stderr.splitlines()) == 1


def test_show_says_that_it_verified_nothing(stick: Path) -> None:
    (stick / "targets/model/config.json").write_text("changed")
    done = coderack("show", stick)
    assert done.exit_code == Exit.OK
    assert "tiny" in done.stdout
    assert "metadata/1.targets.json" in done.stdout
    assert "not verified" in done.stdout
    facts = json.loads(coderack("show", stick, "--json").stdout)
    assert {entry["version"] for entry in facts["metadata"]} == {1}


@pytest.mark.parametrize("name", ["targets/bundle.json", "metadata/timestamp.json"])
def test_show_prints_nothing_that_could_steer_a_terminal(stick: Path, name: str) -> None:
    text = (stick / name).read_text()
    (stick / name).write_text(text.replace("a test", "\\u001b[2J").replace('"expires":"2', '"expires":"\\u001b[2J'))
    done = coderack("show", stick)
    assert done.exit_code == Exit.FAILED
    assert "\x1b" not in done.output


def test_show_of_no_bundle_is_one_line(tmp_path: Path) -> None:
    done = coderack("show", tmp_path)
    assert (done.exit_code, done.stderr) == (Exit.FAILED, "targets/bundle.json: missing\n")


def test_an_import_without_a_database_keeps_the_model_for_the_next_try(stick: Path, tmp_path: Path) -> None:
    # A process of its own: another test may have set Django up, with a database that answers.
    done = subprocess.run(
        [sys.executable, "-c", "from ops.cli.bundles import app; app()", "import", str(stick),
         "--root", str(tmp_path / "keys/root.json")],
        cwd=REPO, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == Exit.NOT_RUNNING, done.stderr
    assert len([path for path in (tmp_path / "cache/models").iterdir() if path.name.startswith("tiny-")]) == 1
    assert (tmp_path / "data/trust/root.json").read_bytes() == (tmp_path / "keys/root.json").read_bytes()
    assert coderack("verify", stick).exit_code == Exit.OK, "the root is installed now"


@pytest.mark.parametrize(
    "arguments", [["--root-keys", "2", "--threshold", "3"], ["--root-keys", "1", "--threshold", "2"]]
)
def test_keygen_refuses_a_threshold_that_cannot_be_met(tmp_path: Path, arguments: list[str]) -> None:
    done = coderack("keygen", tmp_path / "keys", *arguments)
    assert done.exit_code == Exit.FAILED
    assert not (tmp_path / "keys").exists()


def test_build_says_what_is_wrong_with_the_keys_or_the_model(stick: Path, tmp_path: Path) -> None:
    done = coderack("build", tmp_path / "out", "--keys", tmp_path / "nowhere", "--model", tmp_path / "model")
    assert (done.exit_code, "keygen" in done.stderr) == (Exit.FAILED, True)
    (tmp_path / "model/config.json").write_text("{}")
    done = coderack("build", tmp_path / "out", "--keys", tmp_path / "keys", "--model", tmp_path / "model")
    assert (done.exit_code, "config.json" in done.stderr) == (Exit.FAILED, True)
    assert not (tmp_path / "out").exists()
