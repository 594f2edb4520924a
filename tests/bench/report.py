"""How the benchmark's figures are shown: medians with their range, the contenders side by side, then the targets."""

from __future__ import annotations

import json
import statistics
from typing import Any

from tests.bench.harness import cores
from tests.bench.loads import LOADS
from tests.bench.machine import commit, hardware
from tests.bench.targets import Rounds, Verdict, judge


def facts(seconds: float, rounds: int) -> dict[str, str]:
    """What a figure means nothing without."""
    mine, theirs = cores()
    return {
        "hardware": hardware(),
        "commit": commit(),
        "workload": f"{rounds} rounds, {seconds:g} s of every load and contender in turn, 240-byte events; "
        f"engine and clients in one process on core {mine}, the contender on core {theirs}",
        **{load.name: load.says for load in LOADS},
    }


def as_text(facts: dict[str, str], rounds: Rounds) -> str:
    """The facts, one table, the targets."""
    lines = [f"{name}: {value}" for name, value in facts.items()]
    lines += ["", "medians (lowest to highest round); delays and answers in ms", *table(rounds), "", "targets"]
    return "\n".join([*lines, *(line(verdict) for verdict in judge(rounds)), ""])


def table(rounds: Rounds) -> list[str]:
    names = list(rounds)
    figures = dict.fromkeys(figure for one in rounds.values() for found in one for figure in found)
    rows = [["", *names], *([figure, *(cell(rounds, name, figure) for name in names)] for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(names) + 1)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def cell(rounds: Rounds, name: str, figure: str) -> str:
    values = [found[figure] for found in rounds[name] if figure in found]
    if not values:
        return "-"
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def line(verdict: Verdict) -> str:
    says = {True: "reached    ", False: "NOT reached", None: "not measured"}[verdict.reached]
    found = "" if verdict.found is None else f": {number(verdict.found)}"
    return f"{says}  {verdict.target}{found}" + (f" ({verdict.how})" if verdict.how else "")


def as_json(facts: dict[str, str], rounds: Rounds) -> str:
    """Every round's figures, and the targets."""
    judged: list[dict[str, Any]] = [
        {"target": str(one.target), "found": one.found, "reached": one.reached, "how": one.how} for one in judge(rounds)
    ]
    return json.dumps({"facts": facts, "rounds": rounds, "targets": judged}, indent=2) + "\n"
