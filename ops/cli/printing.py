"""How the CLI speaks: tables for people, JSON for scripts, one line for errors, documented exit codes.

With `--json`, standard output holds the answer and nothing else, and an error is one JSON object on standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from enum import IntEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class _Audience:
    """Who reads what the running command prints; `--json` says so before any other argument is looked at."""

    scripts = False


def _hear(as_json: bool) -> bool:
    _Audience.scripts = as_json
    return as_json


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", is_eager=True, callback=_hear)]


class Exit(IntEnum):
    """The CLI's exit codes, the same for every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    ALREADY_RUNNING = 4
    NOT_FOUND = 5


def fail(message: str, code: Exit = Exit.FAILED) -> typer.Exit:
    """Print a message to standard error and give the exit to raise."""
    if _Audience.scripts:
        typer.echo(error_json(message, code), err=True)
    else:
        err.print(message, style="red", markup=False)
    return typer.Exit(int(code))


def error_json(message: str, code: Exit) -> str:
    """An error as scripts read it."""
    told = {"code": code.name, "exit_code": int(code), "message": message}
    return json.dumps({"error": told}, indent=2, ensure_ascii=False)


@contextmanager
def progress_aside(as_json: bool) -> Iterator[None]:
    """While a long command works for a script, what it tells people goes to standard error."""
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        yield


def show_done(facts: Mapping[str, Any], as_json: bool, line: str) -> None:
    """What a command made or changed: the row as it is now for scripts, one line for people."""
    show_json(dict(facts)) if as_json else typer.echo(line)


def show_facts(facts: Mapping[str, Any], as_json: bool, width: int = 16) -> None:
    """One thing: a line for each of its facts, and a table for each of its lists."""
    if as_json:
        show_json(dict(facts))
        return
    for name, value in facts.items():
        if isinstance(value, list):
            out.print(f"\n{name}", style="bold", markup=False)
            show_rows(value, False, "  none")
        else:
            out.print(f"{name.replace('_', ' '):{width}} {'–' if value is None else value}", markup=False)


def show_json(value: Any) -> None:
    """Print a value for scripts."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def show_rows(rows: Sequence[Mapping[str, Any]], as_json: bool, empty: str) -> None:
    """Print rows as a table, as JSON, or the sentence for none."""
    if as_json:
        show_json(list(rows))
        return
    if not rows:
        out.print(empty, markup=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row.values()))
    out.print(table)
