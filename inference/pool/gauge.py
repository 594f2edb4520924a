"""An engine's counters as they were last read: its throughput between the last two readings, and its latencies."""

import time
from dataclasses import replace

from inference.engines import EngineKind
from inference.engines.histogram import Histogram
from inference.pool.engine_client import EngineClient
from inference.pool.errors import EngineUnreachable
from inference.pool.load import Load
from inference.pool.store import Counters


class Gauge:
    """Reads one engine's counters. Written by its keeper's thread; `load` and `sample` are for the supervisor's."""

    def __init__(self, kind: EngineKind, client: EngineClient, stale_s: float) -> None:
        self._kind = kind
        self._client = client
        self._stale_s = stale_s
        self._last: tuple[Counters, Counters] | None = None
        self._told: Counters | None = None  # the reading up to which latencies were told

    @property
    def counters(self) -> Counters | None:
        return self._last[1] if self._last else None

    def read(self, timeout_s: float) -> Counters:
        """Raises: EngineUnreachable, also for a page that is no metrics page; MetricsMalformed."""
        answer = self._client.get(self._kind.METRICS_PATH, timeout_s)
        if answer.status != 200:
            raise EngineUnreachable(f"GET {self._kind.METRICS_PATH}: HTTP {answer.status}")
        counters = self._kind.parse_counters(answer.body.decode(errors="replace"), time.time())
        if self._told is None:  # and never set back: the other thread may have gone on
            self._told = counters  # an adopted engine's past is not the present
        self._last = (self._last[1] if self._last else counters, counters)
        return counters

    def load(self, now: float) -> Load:
        """Throughput and load without latencies; zero when the last reading is old. `now` is in unix seconds."""
        last = self._last
        return Load() if last is None or now - last[1].at > self._stale_s else _between(*last)

    def sample(self, now: float) -> Load:
        """As `load`, with the latencies since the last sample: each is told once."""
        last = self._last
        if last is None or now - last[1].at > self._stale_s:
            return Load()
        ttft, tpot = self._latencies(last[1])
        return replace(_between(*last), ttft=ttft, tpot=tpot)

    def _latencies(self, after: Counters) -> tuple[Histogram, Histogram]:
        """TTFT and TPOT since they were told last.

        Which TTFT was a one-token request's is not known: they are taken for the fastest, so that the rest reads no
        better than it was, and canaries alone give none.
        """
        told, self._told = self._told or after, after
        single = after.single_token_requests - told.single_token_requests
        if single < 0:
            single = after.single_token_requests
        return after.ttft.since(told.ttft).without_fastest(single), after.tpot.since(told.tpot)


def _between(before: Counters, after: Counters) -> Load:
    span_s = after.at - before.at
    return Load(
        max(0.0, (after.prompt_tokens - before.prompt_tokens) / span_s) if span_s > 0 else 0.0,
        max(0.0, (after.generation_tokens - before.generation_tokens) / span_s) if span_s > 0 else 0.0,
        after.running,
        after.waiting,
        after.kv_usage,
    )
