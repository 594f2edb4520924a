"""The verdict over a run, from its own figures and nothing else: who has the certificate can judge again.

`void` comes before the target: figures that can't be relied on show neither that it was met nor that it was not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ops.acceptance.evidence import Evidence, LifeBook
from ops.acceptance.measure import Measured
from ops.acceptance.workload import Target, Workload

MAX_GENERATOR_CPU = 0.9
INPUT_TOLERANCE = 0.02
INPUT_TOLERANCE_TOKENS = 2  # a start token, and a word that was cut
HIT_TOLERANCE = 0.005

Verdict = Literal["met", "not_met", "void"]


@dataclass(frozen=True)
class Judgement:
    """A verdict and why."""

    verdict: Verdict
    reasons: tuple[str, ...]


def judge(workload: Workload, target: Target, measured: Measured, evidence: Evidence) -> Judgement:
    """Judge a run."""
    if reasons := (*_load_faults(workload, measured), *_book_faults(measured, evidence)):
        return Judgement("void", reasons)
    if reasons := tuple(_misses(target, measured)):
        return Judgement("not_met", reasons)
    return Judgement("met", ())


def _load_faults(workload: Workload, measured: Measured) -> Iterator[str]:
    """Where the load was not the one that was declared."""
    if measured.window_s < workload.duration_s:
        yield (
            f"the window was {measured.window_s:g} s and {workload.duration_s:g} s were asked for: it was cut short after "
            f"{measured.failed_requests} failed requests"
        )
    if not measured.requests_in_window:
        yield "no request began inside the window and was answered whole"
        return
    off = abs(measured.mean_input_tokens - workload.input_tokens)
    if off > max(workload.input_tokens * INPUT_TOLERANCE, INPUT_TOLERANCE_TOKENS):
        yield f"prompts had {measured.mean_input_tokens:g} tokens on average, {workload.input_tokens} were declared"
    if (measured.shortest_answer, measured.longest_answer) != (workload.output_tokens, workload.output_tokens):
        yield (
            f"answers had {measured.shortest_answer} to {measured.longest_answer} tokens, "
            f"{workload.output_tokens} were declared"
        )
    if measured.hit_rate > workload.hit_rate + HIT_TOLERANCE:
        yield f"{measured.hit_rate:.1%} of the input came from the prefix cache, {workload.hit_rate:.1%} were declared"
    if measured.generator_cpu > MAX_GENERATOR_CPU:
        yield f"the load generator took {measured.generator_cpu:.0%} of a core: its own limit may have been measured"


def _book_faults(measured: Measured, evidence: Evidence) -> Iterator[str]:
    """Where client, ledger and engines do not agree."""
    if evidence.num_disagreeing:
        yield (
            f"client and ledger disagree about {evidence.num_disagreeing} requests: {', '.join(evidence.disagreeing[:3])}"
        )
    if evidence.lives_before != evidence.lives_after:
        yield "the engines that served at the end are not those that served at the beginning"
    if {life.life_id for life in evidence.lives} != set(evidence.lives_before):
        yield "not every engine's counters are accounted for"
    for life in evidence.lives:
        yield from _life_faults(life)
    sums = (evidence.prompt_tokens, evidence.cached_tokens, evidence.completion_tokens)
    client = (measured.prompt_tokens, measured.cached_tokens, measured.completion_tokens)
    if sums != client and not measured.failed_requests:
        yield f"the ledger books {sums} input, cached and output tokens for the run, the client counted {client}"


def adds_up(life: LifeBook) -> bool:
    """Whether an engine's counters rose by exactly what the ledger books on it."""
    return _risen(life) == (life.prompt_tokens, life.completion_tokens)


def _risen(life: LifeBook) -> tuple[int, int] | tuple[None, None]:
    if life.before is None or life.after is None:
        return None, None
    before, after = life.before, life.after
    return after.prompt_tokens - before.prompt_tokens, after.generation_tokens - before.generation_tokens


def _life_faults(life: LifeBook) -> Iterator[str]:
    name = f"engine {life.replica} ({life.life_id[:8]})"
    if life.before is None or life.after is None:
        yield f"{name}: its counters could not be read while it was idle; nobody else may use the box during a run"
        return
    if not adds_up(life):
        rose = _risen(life)
        yield (
            f"{name}: its counters rose by {rose[0]} input and {rose[1]} output tokens, the ledger books {life.prompt_tokens} "
            f"and {life.completion_tokens}"
        )
    if life.inexact:
        yield f"{name}: {life.inexact} requests in the ledger are not exact"


def _misses(target: Target, measured: Measured) -> Iterator[str]:
    """Where the target was missed."""
    if measured.input_tps < target.input_tps:
        yield f"input: {measured.input_tps:g} tokens/s, the target is {target.input_tps:g}"
    if measured.output_tps < target.output_tps:
        yield f"output: {measured.output_tps:g} tokens/s, the target is {target.output_tps:g}"
    for name, limit, value in (
        ("TTFT", target.ttft_p99_ms, measured.ttft.p99_ms),
        ("TPOT", target.tpot_p99_ms, measured.tpot.p99_ms),
    ):
        if limit is not None and (value is None or value > limit):
            yield (
                f"{name} at the 99th percentile: {value:g} ms, the target is {limit:g}" if value else f"{name}: unknown"
            )
    if measured.failed_requests:
        yield f"{measured.failed_requests} of {measured.requests} requests failed; none may"
