"""`coderack acceptance` on the command line: runs, lists, shows, verifies, and says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.cli import acceptance as cli
from tests.appliance.operations.acceptance_box import Box, box

__all__ = ["box"]
pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def command(box: Box, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setattr(cli, "load", lambda: box.env)
    return CliRunner()


RUN = ["run", "--model", "tiny", "--input-tps", "5", "--output-tps", "2", "--duration", "1s", "--warm-up", "0.2s",
       "--concurrency", "2", "--input-tokens", "40", "--output-tokens", "10"]  # fmt: skip


def test_the_command_runs_lists_shows_and_verifies(box: Box, command: CliRunner, tmp_path: Path) -> None:
    assert command.invoke(cli.app, ["key"]).exit_code == 5
    ran = command.invoke(cli.app, [*RUN, "--json"])
    assert ran.exit_code == 0, ran.output
    facts = json.loads(ran.stdout)
    assert (facts["verdict"], facts["measured"]["failed_requests"]) == ("met", 0)
    (listed,) = json.loads(command.invoke(cli.app, ["list", "--json"]).stdout)
    assert (listed["id"], listed["verdict"]) == (facts["id"], "met")
    assert json.loads(command.invoke(cli.app, ["show", facts["id"][:8], "--json"]).stdout) == facts
    key = tmp_path / "public.pem"
    key.write_text(command.invoke(cli.app, ["key"]).stdout)
    assert command.invoke(cli.app, ["verify", facts["folder"]]).exit_code == 0
    assert command.invoke(cli.app, ["verify", facts["folder"], "--key", str(key)]).exit_code == 0


def test_the_command_fails_where_the_target_is_missed_or_the_certificate_changed(box: Box, command: CliRunner) -> None:
    missed = command.invoke(cli.app, [*RUN, "--tpot-ms", "0.001", "--json"])
    assert missed.exit_code == 1
    folder = Path(json.loads(missed.stdout)["folder"])
    page = folder / "certificate.html"
    page.write_text(page.read_text().replace("not met", "met"))
    refused = command.invoke(cli.app, ["verify", str(page)])
    assert refused.exit_code == 1
    assert "certificate.html: was changed" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([*RUN[:-1], "abc"], 2, "valid integer"),
        ([*RUN, "--duration", "soon"], 2, "60s, 10m or 1h"),
        ([*RUN, "--concurrency", "9"], 2, "the engines run 8"),
        ([*RUN, "--model", "absent"], 1, "no model 'absent'"),
        (["show", "abc"], 5, "coderack acceptance list"),
        (["verify", "/nowhere"], 5, "/nowhere is not there"),
    ],
)
def test_bad_input_is_told_and_ends_with_its_code(
    command: CliRunner, arguments: list[str], code: int, told: str
) -> None:
    done = command.invoke(cli.app, arguments)
    assert (done.exit_code, told in done.stderr) == (code, True), done.stderr
