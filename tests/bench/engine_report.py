"""How the figures with a real engine are shown: each pair's ratio, its median and its spread."""

from __future__ import annotations

import statistics
from typing import Any

TARGET = 0.98  # of the engine's own rate


def as_text(found: dict[str, Any], max_tokens: int) -> str:
    """Facts, loads, and chat beside a batch."""
    lines = [f"{name}: {value}" for name, value in found["facts"].items()]
    for num_streams, pairs in found["pairs"].items():
        load = f"{num_streams} streams, answers of {max_tokens} tokens in the mean"
        lines += ["", f"{load}, {len(pairs)} pairs: median (lowest to highest)"]
        lines += _load(pairs)
    if found["beside"]:
        lines += ["", f"chat alone and beside a batch, {len(found['beside'])} times: median, highest of all streams"]
        lines += _beside(found["beside"])
    return "\n".join([*lines, ""])


def _load(pairs: list[dict[str, dict[str, float]]]) -> list[str]:
    names = list(pairs[0]["engine"])
    lines = [
        f"  {name:36} engine {_spread([pair['engine'][name] for pair in pairs]):32}"
        f" gateway {_spread([pair['gateway'][name] for pair in pairs])}"
        for name in names
    ]
    ratios = [pair["gateway"]["tokens/s"] / pair["engine"]["tokens/s"] for pair in pairs]
    verdict = "reached" if statistics.median(ratios) >= TARGET else "NOT reached"
    costs = ["CPU ms per token: engine", "CPU ms per token: gateway", "CPU ms per token: redis"]
    share = [sum(pair["gateway"][name] for name in costs[1:]) / pair["gateway"][costs[0]] for pair in pairs]
    return [
        *lines,
        f"  tokens/s, gateway / engine: {_spread(ratios)}; >= {TARGET:g} {verdict}",
        f"  CPU of gateway and Redis, of the engine's: {_spread([100 * one for one in share])} %",
    ]


def _beside(times: list[dict[str, Any]]) -> list[str]:
    lines = []
    for figure in ("TTFT ms", "TPOT ms"):
        alone, beside = ([value for one in times for value in one[kind][figure]] for kind in ("alone", "beside"))
        lines.append(f"  {figure}: alone {_most(alone)}, beside {_most(beside)}")
    return [*lines, f"  the batch's tokens/s meanwhile: {_spread([one['batch tokens/s'] for one in times])}"]


def _most(values: list[float]) -> str:
    return f"{_number(statistics.median(values))} ({_number(max(values))})"


def _spread(values: list[float]) -> str:
    return f"{_number(statistics.median(values))} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
