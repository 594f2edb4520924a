"""An engine's counters as they were last read, and the throughput between the last two readings."""

import time
from dataclasses import dataclass

from inference.engines import EngineKind
from inference.pool.engine_client import EngineClient
from inference.pool.errors import EngineUnreachable
from inference.pool.store import Counters


@dataclass(frozen=True)
class Load:
    """Throughput and load at one moment; of one engine, or added up over several."""

    input_tps: float = 0.0
    output_tps: float = 0.0
    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0

    def __add__(self, other: "Load") -> "Load":
        return Load(
            self.input_tps + other.input_tps,
            self.output_tps + other.output_tps,
            self.running + other.running,
            self.waiting + other.waiting,
            max(self.kv_usage, other.kv_usage),
        )


class Gauge:
    """Reads one engine's counters. Written by its keeper's thread, `load` may be read from any."""

    def __init__(self, kind: EngineKind, client: EngineClient, stale_s: float) -> None:
        self._kind = kind
        self._client = client
        self._stale_s = stale_s
        self._last: tuple[Counters, Counters] | None = None

    @property
    def counters(self) -> Counters | None:
        return self._last[1] if self._last else None

    def read(self, timeout_s: float) -> Counters:
        """Raises: EngineUnreachable, also for a page that is no metrics page; MetricsMalformed."""
        answer = self._client.get(self._kind.METRICS_PATH, timeout_s)
        if answer.status != 200:
            raise EngineUnreachable(f"GET {self._kind.METRICS_PATH}: HTTP {answer.status}")
        counters = self._kind.parse_counters(answer.body.decode(errors="replace"), time.time())
        self._last = (self._last[1] if self._last else counters, counters)
        return counters

    def load(self, now: float) -> Load:
        """Zero when the last reading is old. `now` is in unix seconds."""
        if self._last is None or now - self._last[1].at > self._stale_s:
            return Load()
        before, after = self._last
        span_s = after.at - before.at
        if span_s <= 0:
            return Load(0.0, 0.0, after.running, after.waiting, after.kv_usage)
        return Load(
            max(0.0, (after.prompt_tokens - before.prompt_tokens) / span_s),
            max(0.0, (after.generation_tokens - before.generation_tokens) / span_s),
            after.running,
            after.waiting,
            after.kv_usage,
        )
