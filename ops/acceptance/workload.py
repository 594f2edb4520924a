"""What a run declares before it begins: the load it puts on, and the target it is held against."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MIN_DURATION_S = 10.0
MAX_DURATION_S = 24 * 3600.0
MAX_CONCURRENCY = 4096
SPARE_FILES = 64  # descriptors that the process needs beside one for each stream
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Workload:
    """So many streams at once, each asking anew as soon as it was answered, with prompts and answers of one length.

    `hit_rate`: the share of a prompt that all prompts begin with alike; 0 means that no two have a beginning in common.
    """

    model: str
    input_tokens: int
    output_tokens: int
    concurrency: int
    duration_s: float
    warm_up_s: float
    seed: int
    hit_rate: float = 0.0


@dataclass(frozen=True)
class Target:
    """Tokens per second to reach at the same time, and latencies not to exceed at the 99th percentile."""

    input_tps: float
    output_tps: float
    ttft_p99_ms: float | None = None
    tpot_p99_ms: float | None = None


@dataclass(frozen=True)
class Limits:
    """What the box takes. `sequences` is what its engines run at once, None where no flag says so."""

    context_tokens: int
    sequences: int | None
    open_files: int


def seconds(text: str) -> float:
    """A duration such as 90, 60s, 10m or 1h.

    Raises: ValueError
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration: write 60s, 10m or 1h")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def faults(workload: Workload, target: Target, limits: Limits) -> Iterator[str]:
    """Why a workload can't be run, one line each."""
    if not MIN_DURATION_S <= workload.duration_s <= MAX_DURATION_S:
        yield f"a window of {workload.duration_s:g} s: choose {MIN_DURATION_S:g} s to 24 h; 10 min and more say something"
    if not 0 <= workload.warm_up_s <= MAX_DURATION_S:
        yield f"a warm-up of {workload.warm_up_s:g} s: choose 0 s to 24 h"
    if workload.input_tokens < 1 or workload.output_tokens < 2:
        yield "prompts need a token and answers two: the time of an output token is taken between them"
    if not 0 <= workload.hit_rate < 1:
        yield f"a hit rate of {workload.hit_rate:g}: choose 0 to below 1"
    wanted = workload.input_tokens + workload.output_tokens
    if wanted > limits.context_tokens:
        yield f"{wanted} tokens of input and output together: {limits.context_tokens} are served"
    yield from _too_many(workload.concurrency, limits)
    if min(target.input_tps, target.output_tps) < 0 or target.input_tps + target.output_tps <= 0:
        yield "a target below zero, or none at all: give --input-tps and --output-tps"
    if any(value is not None and value <= 0 for value in (target.ttft_p99_ms, target.tpot_p99_ms)):
        yield "a latency target of 0 ms or below: leave it out where there is none"


def _too_many(concurrency: int, limits: Limits) -> Iterator[str]:
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        yield f"{concurrency} streams at once: choose 1 to {MAX_CONCURRENCY}"
    if limits.sequences is not None and concurrency > limits.sequences:
        yield (
            f"{concurrency} streams at once: the engines run {limits.sequences} (--max-num-seqs of all replicas), more would "
            "only wait"
        )
    if concurrency + SPARE_FILES > limits.open_files:
        yield f"{concurrency} streams at once: this process may open {limits.open_files} files; raise `ulimit -n`"
