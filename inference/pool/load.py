"""What one engine, or several together, do at one moment: tokens per second, requests, and how fast they were."""

from __future__ import annotations

from dataclasses import dataclass

from inference.engines.histogram import NOTHING, Histogram


@dataclass(frozen=True)
class Load:
    """Throughput and load at one moment, and the latencies observed since the last one; they add up over engines.

    `ttft` and `tpot` leave out requests of one token, such as the pool's own canaries.
    """

    input_tps: float = 0.0
    output_tps: float = 0.0
    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    ttft: Histogram = NOTHING
    tpot: Histogram = NOTHING

    def __add__(self, other: Load) -> Load:
        return Load(
            self.input_tps + other.input_tps,
            self.output_tps + other.output_tps,
            self.running + other.running,
            self.waiting + other.waiting,
            max(self.kv_usage, other.kv_usage),
            self.ttft + other.ttft,
            self.tpot + other.tpot,
        )
