"""The commands where nothing runs: what they print, on which stream, and with which exit code."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.env import Env
from ops.cli.printing import Exit
from ops.cli.surroundings import prepare_directories
from tests.ops.cli.conftest import Cli

HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from ops.runner.runner import Runner
runner = Runner(Path(sys.argv[1]), print)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other_runner(env: Env) -> Iterator[subprocess.Popen[str]]:
    prepare_directories(env)
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(env.run_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_it_lists_its_commands_without_any(cli: Cli) -> None:
    told = cli()
    assert told.returncode == Exit.USAGE
    for command in ("up", "start", "stop", "status", "tenant", "key", "model"):
        assert f" {command} " in told.stdout + told.stderr


def test_it_tells_unusable_settings_in_one_message(cli: Cli) -> None:
    told = cli("status", CODERACK_PORT="eighty", CODERACK_PROT="1")
    assert told.returncode == Exit.USAGE
    assert "CODERACK_PORT: 'eighty' must be a whole number" in told.stderr
    assert "CODERACK_PROT: no such setting" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("command", ["up", "start", "stop"])
def test_it_starts_nothing_with_unusable_settings(cli: Cli, command: str) -> None:
    told = cli(command, CODERACK_PORT="eighty")
    assert told.returncode != Exit.OK
    assert told.stderr.splitlines()[-1].strip() == "CODERACK_PORT: 'eighty' must be a whole number"


def test_status_says_that_nothing_runs(cli: Cli) -> None:
    told = cli("status")
    assert told.returncode == Exit.NOT_RUNNING
    assert told.stdout == "not running; `make start` starts it\n"


def test_status_says_so_to_scripts_too(cli: Cli) -> None:
    told = cli("status", "--json")
    assert told.returncode == Exit.NOT_RUNNING
    assert json.loads(told.stdout) == {"running": False, "replicas": [], "devices": [], "attached": [], "boxes": []}


def test_stop_is_fine_when_nothing_runs(cli: Cli) -> None:
    told = cli("stop")
    assert (told.returncode, told.stdout) == (Exit.OK, "nothing runs\n")


def test_stop_removes_the_facts_of_an_appliance_that_was_killed(cli: Cli, env: Env) -> None:
    prepare_directories(env)
    env.ready_file.write_text("{}")
    assert cli("stop").returncode == Exit.OK
    assert not env.ready_file.exists()


@pytest.mark.parametrize("command", ["up", "start"])
def test_it_refuses_to_start_twice(cli: Cli, command: str, other_runner: subprocess.Popen[str]) -> None:
    told = cli(command)
    assert told.returncode == Exit.ALREADY_RUNNING
    assert "already running" in told.stderr
    assert other_runner.poll() is None


@pytest.mark.parametrize("command", [("up",), ("start",)])
def test_it_refuses_a_port_that_is_in_use_before_it_installs_anything(
    cli: Cli, env: Env, command: tuple[str, ...]
) -> None:
    with socket.socket() as other:
        other.bind((env.host, env.port))
        other.listen()
        told = cli(*command)
    last = (told.stdout + told.stderr).strip().splitlines()[-1]
    assert told.returncode == Exit.FAILED
    assert last == f"port {env.port} on 127.0.0.1 is in use; choose another: CODERACK_PORT=8090 make up"
    assert not list(env.cache_dir.iterdir())
    assert not env.ready_file.exists()


@pytest.mark.parametrize(
    "command", [("tenant", "list"), ("tenant", "create", "acme"), ("key", "list", "acme"), ("model", "list")]
)
def test_it_says_in_one_line_that_the_database_is_away(cli: Cli, command: tuple[str, ...]) -> None:
    told = cli(*command)
    assert told.returncode == Exit.NOT_RUNNING
    assert told.stderr.startswith("the database doesn't answer (")
    assert told.stderr.rstrip().endswith("is the appliance running? `make start`")
    assert "Traceback" not in told.stderr


def test_it_refuses_weights_without_a_manifest(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights from somewhere")
    told = cli("model", "add", str(tmp_path), "--name", "deepseek-mine")
    assert told.returncode == Exit.FAILED
    assert told.stderr.startswith("these weights are not accepted:\n  ")
    assert "Traceback" not in told.stderr
