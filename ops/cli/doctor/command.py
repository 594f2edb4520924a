"""The command: every check in its order, whatever the ones before it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Annotated

import typer
from rich.markup import escape

from appliance.env import Env, load
from ops.cli.doctor import machine, programs, running, stored
from ops.cli.doctor.finding import Finding, Result, failed
from ops.cli.printing import AsJson, Exit, out, show_json

Check = Callable[[Env, bool], Iterator[Finding]]
STYLES = {Result.OK: "green", Result.WARNING: "yellow", Result.FAILED: "red"}


def _shallow(check: Callable[[Env], Iterator[Finding]]) -> Check:
    return lambda env, _deep: check(env)


CHECKS: dict[str, Check] = {
    "python": _shallow(machine.python),
    "processors": _shallow(machine.processors),
    "memory": _shallow(machine.memory),
    "disks": _shallow(machine.disks),
    "temporary": _shallow(machine.temporary),
    "clock": _shallow(machine.clock),
    "bubblewrap": _shallow(programs.bubblewrap),
    "programs for tests": _shallow(programs.for_tests),
    "servers' programs": _shallow(programs.servers),
    "engine slots": stored.slots,
    "models": stored.models,
    "processes": _shallow(running.processes),
    "servers": _shallow(running.servers),
    "rows": running.rows,
}


def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte of engine slots and models.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine, what is installed and what runs; each finding says what to do."""
    env = load()
    found: list[Finding] = []
    for finding in findings(env, deep):
        found.append(finding)
        if not as_json:
            _show(finding)
    counts = Counter(finding.result for finding in found)
    if as_json:
        show_json({"ok": not counts[Result.FAILED], "findings": [vars(finding) for finding in found]})
    else:
        out.print(", ".join(f"{counts[result]} {result}" for result in Result))
    if counts[Result.FAILED]:
        raise typer.Exit(int(Exit.FAILED))


def findings(env: Env, deep: bool) -> Iterator[Finding]:
    """What each check found; one that breaks is a finding, too."""
    for name, check in CHECKS.items():
        try:
            yield from check(env, deep)
        except Exception as error:  # noqa: BLE001 - a sick machine breaks checks in ways nobody lists, and the rest must be told
            yield failed(
                name, f"can't be checked: {type(error).__name__}: {error}", "mend what it names, then ask again"
            )


def _show(finding: Finding) -> None:
    style = STYLES[finding.result]
    out.print(f"[{style}]{finding.result:8}[/{style}] {escape(f'{finding.check}: {finding.found}')}")
    if finding.advice:
        out.print(f"         → {finding.advice}", markup=False)
