"""What the contract promises, and whether the present keeps it. Pure, apart from the settings that hold the targets."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.utils.translation import pgettext_lazy

from appliance.console.throughput import Now
from appliance.console.words import Word

MET = Word(pgettext_lazy("contract", "met"), "good")
NOT_MET = Word(pgettext_lazy("contract", "not met"), "bad")
LIGHT_LOAD = Word(pgettext_lazy("contract", "light load"), "idle")
NO_LOAD = Word(pgettext_lazy("contract", "no load"), "idle")


@dataclass(frozen=True)
class Targets:
    """Tokens per second at least; milliseconds at most, at the 99th percentile."""

    input_tps: int
    output_tps: int
    ttft_ms: int
    tpot_ms: int


@dataclass(frozen=True)
class Kept:
    """Each target's word; None while the present is not known."""

    input: Word | None
    output: Word | None
    ttft: Word | None
    tpot: Word | None


def targets() -> Targets:
    """As this appliance is configured."""
    env = settings.ENV
    return Targets(env.contract_input_tps, env.contract_output_tps, env.contract_ttft_ms, env.contract_tpot_ms)


def kept(now: Now, promised: Targets) -> Kept:
    """The present beside the contract."""
    if now.at is None:
        return Kept(None, None, None, None)
    return Kept(
        _throughput(now.input_tps, promised.input_tps, now),
        _throughput(now.output_tps, promised.output_tps, now),
        _latency(now.ttft_p99_ms, promised.ttft_ms),
        _latency(now.tpot_p99_ms, promised.tpot_ms),
    )


def _throughput(value: float | None, least: int, now: Now) -> Word:
    """Fewer tokens than promised break the contract only when somebody waits for more; else fewer were asked for."""
    if value is not None and value >= least:
        return MET
    if now.waiting:
        return NOT_MET
    return NO_LOAD if now.idle else LIGHT_LOAD


def _latency(p99_ms: float | None, most: int) -> Word:
    """As the figure reads, in whole ms: it is an estimate, and "50 ms" must not exceed 50 ms."""
    if p99_ms is None:
        return NO_LOAD
    return MET if round(p99_ms) <= most else NOT_MET
