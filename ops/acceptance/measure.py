"""The figures of a run, from its requests. Pure: who reads requests.jsonl again gets the same figures.

Output tokens count in the window by the arrival of their events: a request's tokens are spread evenly over its events, and
those whose event came inside the window count. Input tokens count whole, at the moment of a request's first token, when
the engine's own counter counts them. Only requests that were answered whole count. Latencies are those of all requests that
began inside the window; percentiles are by nearest rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ops.acceptance.requests import Request

METHOD = (
    "Output tokens count by the arrival of their events at the client: a request's tokens, as its last event reports them, are "
    "spread evenly over its events, and those inside the window count.",
    "Input tokens count whole at the arrival of a request's first token, when it lies inside the window.",
    "Only requests that were answered whole count; those before and after the window keep the load up and are not counted.",
    "TTFT runs from sending the request to its first event; TPOT is (E2E - TTFT) / (tokens - 1). Both are of all requests that "
    "began inside the window, percentiles by nearest rank.",
    "Nothing was asked twice. Failed requests are counted over the whole run.",
)


@dataclass(frozen=True)
class Quantiles:
    """Milliseconds; None where nothing was measured."""

    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class Measured:
    """What was measured. Rates are tokens per second over the window; totals are over the whole run."""

    window_s: float
    input_tps: float
    output_tps: float
    requests: int
    failed_requests: int
    requests_in_window: int
    ttft: Quantiles
    tpot: Quantiles
    e2e: Quantiles
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    mean_input_tokens: float
    shortest_answer: int
    longest_answer: int
    hit_rate: float
    generator_cpu: float


def measure(requests: Sequence[Request], window_s: tuple[float, float], cpu_share: float) -> Measured:
    """The figures of a run. `window_s` is on the requests' own clock."""
    begin, end = window_s
    span = round(end - begin, 6)
    good = [request for request in requests if request.succeeded]
    inside = [request for request in good if begin <= request.began_s < end]
    prompt = sum(request.prompt_tokens for request in good)
    cached = sum(request.cached_tokens for request in good)
    answers = [request.completion_tokens for request in good]
    output = math.fsum(r.completion_tokens * r.events_in_window / r.events for r in good if r.events)
    entered = sum(r.prompt_tokens for r in good if r.ttft_s is not None and begin <= r.began_s + r.ttft_s < end)
    return Measured(
        window_s=span,
        input_tps=round(entered / span, 3) if span > 0 else 0.0,
        output_tps=round(output / span, 3) if span > 0 else 0.0,
        requests=len(requests),
        failed_requests=len(requests) - len(good),
        requests_in_window=len(inside),
        ttft=_quantiles([request.ttft_s for request in inside]),
        tpot=_quantiles([request.tpot_s for request in inside]),
        e2e=_quantiles([request.ended_s - request.began_s for request in inside]),
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=sum(answers),
        mean_input_tokens=round(prompt / len(good), 3) if good else 0.0,
        shortest_answer=min(answers, default=0),
        longest_answer=max(answers, default=0),
        hit_rate=round(cached / prompt, 6) if prompt else 0.0,
        generator_cpu=cpu_share,
    )


def _quantiles(values_s: Sequence[float | None]) -> Quantiles:
    ordered = sorted(value for value in values_s if value is not None)
    return Quantiles(*(_rank(ordered, share) for share in (0.5, 0.9, 0.99)))


def _rank(ordered: Sequence[float], share: float) -> float | None:
    """The nearest rank in milliseconds."""
    return round(ordered[max(math.ceil(share * len(ordered)) - 1, 0)] * 1000, 3) if ordered else None
