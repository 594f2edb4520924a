"""`--json`: every command that prints facts has it, errors are one JSON object, and standard output holds answers only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from ops.cli.main import app
from ops.cli.printing import Exit
from tests.ops.cli.conftest import Cli

WITHOUT = {
    ("up",),
    ("worker",),
    ("conversations", "export"),
}  # it runs until it is stopped; what it writes are JSON lines


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


EVERY = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_command_says_what_it_does_and_answers_scripts(path: tuple[str, ...]) -> None:
    command = EVERY[path]
    assert command.help
    assert command.help.rstrip().endswith(".")
    options = {name for parameter in command.params for name in parameter.opts}
    assert ("--json" in options) != (path in WITHOUT)
    assert not [parameter.name for parameter in command.params if not parameter.help]


def error(told: str) -> dict[str, Any]:
    content = json.loads(told)
    assert list(content) == ["error"]
    return dict(content["error"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("tenant", "list"), Exit.NOT_RUNNING, "the database doesn't answer"),
        (("key", "revoke", "sk-cr-abcde"), Exit.NOT_RUNNING, "the database doesn't answer"),
        (("tenant", "create"), Exit.USAGE, "Missing argument"),
        (("job", "list", "--limit", "0"), Exit.USAGE, "--limit"),
        (("tenant", "lst"), Exit.USAGE, "lst"),
        (("user", "create", "kim"), Exit.USAGE, "--tenant"),
        (("demo",), Exit.NOT_RUNNING, "make start"),
        (("demo-check",), Exit.NOT_FOUND, "make demo"),
        (("bundle", "show", "/nowhere"), Exit.FAILED, "nowhere"),
        (("model", "lend", "m", "--window", "25:00-06:00"), Exit.USAGE, "no window"),
        (
            ("plan-capacity", "--model", "x", "--hardware", "8xH20-96", "--precision", "fp8"),
            Exit.USAGE,
            "x",
        ),
    ],
)
def test_an_error_is_one_json_object_on_standard_error(
    cli: Cli, arguments: tuple[str, ...], code: Exit, words: str
) -> None:
    told = cli(*arguments, "--json")
    found = error(told.stderr)
    assert (told.returncode, told.stdout) == (code, "")
    assert (found["code"], found["exit_code"]) == (code.name, code.value)
    assert words in found["message"]


def test_settings_that_can_not_be_used_are_told_to_scripts_too(cli: Cli) -> None:
    told = cli("status", "--json", CODERACK_PORT="eighty")
    assert told.returncode == Exit.USAGE
    assert "'eighty' must be a whole number" in error(told.stderr)["message"]


def test_an_error_is_for_people_where_no_json_was_asked_for(cli: Cli) -> None:
    told = cli("tenant", "list")
    assert told.stderr.startswith("the database doesn't answer (")


def test_stop_answers_scripts(cli: Cli) -> None:
    told = cli("stop", "--json")
    assert told.returncode == Exit.OK
    assert json.loads(told.stdout) == {"stopped": False, "leftovers": [], "engines": 0}


def test_the_version_names_the_engines_that_it_installs(cli: Cli) -> None:
    told = json.loads(cli("version", "--json").stdout)
    assert set(told["engines"]) == {"cpu", "cuda", "ascend"}
    assert told["coderack"] in cli("version").stdout
