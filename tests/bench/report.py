"""How the benchmark's figures are shown: medians with their range over the rounds, ratios within each round."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.loop import EVENT_BYTES
from tests.bench.machine import commit, hardware
from tests.bench.windows import PACE_S, SMALL_EVENTS, SMALL_STREAMS, UNARY_CLIENTS, Figures

BUSY = 0.9  # of a core: above it, a process is what limits the rate

Pair = tuple[Figures, Figures]  # straight at the engine, through the gateway


@dataclass(frozen=True)
class Row:
    """One line of the table; `compare` sets the two sides of a round against each other."""

    name: str
    key: str
    form: str
    compare: Callable[[float, float], float] | None = None
    compare_form: str = ""


def _ratio(straight: float, through: float) -> float:
    return through / straight


def _added(straight: float, through: float) -> float:
    return through - straight


ROWS = (
    Row("unpaced: events/s", "unpaced_events_per_s", "{:,.0f}", _ratio, "{:.2f}x"),
    Row("unpaced: gateway CPU s per 1M events", "unpaced_gateway_cpu_s_per_1m", "{:.1f}"),
    Row("unpaced: harness CPU s per 1M events", "unpaced_harness_cpu_s_per_1m", "{:.1f}"),
    Row("paced: events/s", "paced_events_per_s", "{:,.0f}", _ratio, "{:.2f}x"),
    Row("paced: gateway CPU s per 1M events", "paced_gateway_cpu_s_per_1m", "{:.1f}"),
    Row("paced: event delay p50, ms", "paced_event_ms_p50", "{:.2f}", _added, "{:+.2f}"),
    Row("paced: event delay p99, ms", "paced_event_ms_p99", "{:.2f}", _added, "{:+.2f}"),
    Row("small: first event p50, ms", "small_first_event_ms_p50", "{:.2f}", _added, "{:+.2f}"),
    Row("small: first event p99, ms", "small_first_event_ms_p99", "{:.2f}", _added, "{:+.2f}"),
    Row("small: event delay p99, ms", "small_event_ms_p99", "{:.2f}", _added, "{:+.2f}"),
    Row("small: gateway CPU ms per request", "small_gateway_cpu_ms_per_request", "{:.3f}"),
    Row("unary: answers/s", "unary_answers_per_s", "{:,.0f}", _ratio, "{:.2f}x"),
    Row("unary: answer p50, ms", "unary_answer_ms_p50", "{:.2f}", _added, "{:+.2f}"),
    Row("unary: gateway CPU ms per request", "unary_gateway_cpu_ms_per_request", "{:.3f}"),
)


def facts(seconds: float, rounds: int, num_streams: int) -> dict[str, Any]:
    """What a figure means nothing without."""
    return {
        "hardware": hardware(),
        "commit": commit(),
        "workload": f"{rounds} rounds in {seconds:g} s, {EVENT_BYTES}-byte events, 1 gateway worker on a core of its own, "
        "engine and clients in one process on another",
        "unpaced": f"{num_streams} streams, each one's next event sent when its last has arrived",
        "paced": f"{num_streams} streams, an event every {PACE_S * 1e3:.0f} ms",
        "small": f"{SMALL_STREAMS} clients, streams of {SMALL_EVENTS} events {PACE_S * 1e3:.0f} ms apart",
        "unary": f"{UNARY_CLIENTS} clients, short whole answers one after the other",
    }


def as_text(facts: dict[str, Any], pairs: list[Pair]) -> str:
    """The facts, one table, and what to make of the event rate."""
    lines = [f"{name}: {value}" for name, value in facts.items()]
    table = [
        ("median (min to max)", "straight", "through the gateway", "within a round"),
        *(cells(row, pairs) for row in ROWS),
    ]
    widths = [max(len(cells[column]) for cells in table) for column in range(4)]
    lines += [
        "",
        *("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table),
    ]
    return "\n".join([*lines, "", verdict(pairs), ""])


def cells(row: Row, pairs: list[Pair]) -> tuple[str, str, str, str]:
    straight, through = ([side[row.key] for side in sides] for sides in zip(*pairs, strict=True))
    compare = row.compare
    compared = [compare(*both) for both in zip(straight, through, strict=True)] if compare else []
    return (
        row.name,
        "" if "_gateway_" in row.key else spread(straight, row.form),
        spread(through, row.form),
        spread(compared, row.compare_form) if compared else "",
    )


def spread(values: list[float], form: str) -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return f"{form.format(statistics.median(values))} ({low} to {high})"


def verdict(pairs: list[Pair]) -> str:
    """Which process limited the event rate."""
    harness = statistics.median(through["unpaced_harness_busy"] for _, through in pairs)
    worker = statistics.median(through["unpaced_gateway_busy"] for _, through in pairs)
    busy = f"While events were unpaced, the gateway used {worker:.0%} of a core and the harness {harness:.0%}."
    if worker >= BUSY:
        return f"{busy} The gateway was the bottleneck: events/s is its own rate."
    if harness >= BUSY:
        return f"{busy} The harness was the bottleneck: only CPU per event says something of the gateway."
    return f"{busy} Neither filled a core (others used the machine): compare CPU per event rather than events/s."


def as_json(facts: dict[str, Any], pairs: list[Pair]) -> str:
    """Every round's figures."""
    rounds = [{"straight": straight, "through": through} for straight, through in pairs]
    return json.dumps({"facts": facts, "rounds": rounds}, indent=2) + "\n"
