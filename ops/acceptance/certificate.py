"""A run's certificate: a canonical JSON payload, and a page that shows it to people. Signing it is left to `signing`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2

from ops.acceptance.evidence import Evidence
from ops.acceptance.judge import Judgement
from ops.acceptance.measure import METHOD, Measured
from ops.acceptance.workload import Target, Workload

FORMAT = 1
STEADY_S = 600.0
TEMPLATE = Path(__file__).with_name("certificate.html")
UNKNOWN = "–"
CLOCK = "durations by the load generator's CLOCK_MONOTONIC, times of day by this machine's clock, UTC, held against no other"
VERDICT_WORDS = {"met": "met", "not_met": "not met", "void": "void"}


@dataclass(frozen=True)
class Box:
    """What the run was made on, from the appliance's own rows."""

    devices: tuple[Mapping[str, Any], ...]
    engine: Mapping[str, Any]
    model: Mapping[str, Any]
    deployment: Mapping[str, Any]
    software: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """Everything a certificate says. Times are ISO 8601, UTC; the window is seconds since `load_began_at`."""

    id: str
    by: str
    started_at: str
    load_began_at: str
    finished_at: str
    window_begin_s: float
    window_end_s: float
    requests_sha256: str
    box: Box
    workload: Workload
    target: Target
    measured: Measured
    evidence: Evidence


def payload(run: Run, judgement: Judgement) -> dict[str, Any]:
    """What certificate.json holds."""
    facts = asdict(run)
    return {
        "format": FORMAT,
        "kind": "coderack-acceptance",
        "clock": CLOCK,
        "method": list(METHOD),
        "not_said": list(_not_said(run)),
        "verdict": judgement.verdict,
        "reasons": list(judgement.reasons),
        **facts,
    }


def canonical(facts: Mapping[str, Any]) -> bytes:
    """The one way in which a payload is written: the same facts give the same bytes."""
    return (
        json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    )


def _not_said(run: Run) -> Iterator[str]:
    """What nobody should read into a certificate."""
    if {device["kind"] for device in run.box.devices} <= {"cpu"}:
        yield (
            "This box has no accelerator. The figures are a CPU's and say nothing about a server with accelerators; they "
            "show only that a run was made, measured and accounted for as on one."
        )
    if run.measured.window_s < STEADY_S:
        yield (
            f"The window was {run.measured.window_s:g} s. An acceptance of a contract takes 10 minutes or more of steady load."
        )
    yield ("Other lengths, concurrency, cache hit rates, models, engines or flags give other figures.")
    yield "Nothing is said about the quality of answers, or about times in which the box does other work beside."
    yield "The signature says which box signed. That the box was honest, and its clock right, it can't say."


def shown(name: str, value: Any) -> str:
    """A figure as the page shows it, by the name of its fact."""
    if value is None:
        return UNKNOWN
    if name == "verdict":
        return VERDICT_WORDS.get(str(value), str(value))
    if name.endswith(("_tps", "_ms")):
        return f"{value:,.1f}"
    if name.endswith(("_rate", "_cpu")):
        return f"{value:.1%}"
    if isinstance(value, float):
        return f"{value:,.10g}"
    return (
        f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool) and name != "workload.seed"
        else str(value)
    )


def page_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Every figure that the page must show, by name."""
    found = {name: facts[name] for name in ("id", "verdict", "requests_sha256")}
    for part in ("workload", "target", "measured"):
        for name, value in facts[part].items():
            if isinstance(value, Mapping):
                found |= {f"{part}.{name}.{inner}": item for inner, item in value.items()}
            else:
                found[f"{part}.{name}"] = value
    return {name: shown(name, value) for name, value in found.items()}


def page(facts: Mapping[str, Any]) -> bytes:
    """The certificate for people: one file that needs nothing else, on screen and on paper."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    figures = page_facts(facts)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(facts, figures=figures, unknown=UNKNOWN).encode()
