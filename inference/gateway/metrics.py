"""The data plane's counters, shared by all workers through prometheus_client's files. Labels are bounded; no tenant
in any: `model` is the base model, for adapters too.

`PROMETHEUS_MULTIPROC_DIR` must be set before this module is imported; `prepare` empties the directory at the master's
start.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from inference.metrics.family import ProcessFamily

REQUESTS = Counter("coderack_gateway_requests", "Ended requests to engines.", ["endpoint", "model", "status"])
TOKENS = Counter("coderack_gateway_tokens", "Tokens settled.", ["model", "direction"])
REFUSALS = Counter("coderack_gateway_refusals", "Requests refused before an engine saw them.", ["code"])
DROPPED_FIELDS = Counter("coderack_gateway_dropped_fields", "Request fields accepted and not forwarded.", ["field"])
BROKEN = Counter("coderack_gateway_broken", "Answers that failed after they had begun.", ["model"])
INEXACT = Counter("coderack_gateway_inexact", "Requests settled by a lower bound.", ["model"])
RETRIES = Counter("coderack_gateway_retries", "Requests tried on a second replica.", ["model"])
IN_FLIGHT = Gauge("coderack_gateway_in_flight", "Requests at engines.", ["model"], multiprocess_mode="livesum")
TTFT = Histogram(
    "coderack_gateway_ttft_seconds",
    "Time from the end of the request's body to the engine's first event.",
    ["model"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30),
)
LANE_TTFT = Histogram(
    "coderack_gateway_lane_ttft_seconds",
    "Time from a request's admission to the engine's first event.",
    ["lane"],
    buckets=(0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30),
)
OVER_TARGET = Counter("coderack_gateway_over_target", "Streams whose first event missed their lane's target.", ["lane"])
TARGET = Gauge(
    "coderack_gateway_target_seconds", "A lane's target for the first event.", ["lane"], multiprocess_mode="livemax"
)
SUPERSEDED = Counter("coderack_gateway_superseded", "Requests that a newer one of their session ended.", ["model"])
TPOT = Histogram(
    "coderack_gateway_tpot_seconds",
    "Time per output token after the first, of whole streams of one sequence.",
    ["model"],
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2),
)
QUEUED = Gauge("coderack_gateway_queued", "Requests that wait for an engine.", ["lane"], multiprocess_mode="livesum")
QUEUE_WAIT = Histogram(
    "coderack_gateway_queue_wait_seconds",
    "Time in the queue, of requests that had to wait, however the wait ended.",
    ["lane"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30),
)
GARBLED = Counter("coderack_gateway_garbled", "Answers of engines that could not be read.")
CIRCUITS_OPENED = Counter("coderack_gateway_circuits_opened", "Replicas left alone after failures in a row.", ["model"])
CONVERSATIONS = Counter(
    "coderack_gateway_conversations", "Ended requests of tenants that have them kept, and what came of it.", ["outcome"]
)
DIRECTORY_LOADS = Counter("coderack_gateway_directory_loads", "Loads of the directory from the database.")
DIRECTORY_RECONNECTS = Counter("coderack_gateway_directory_reconnects", "Lost or refused database connections.")
LIMITS_LOCAL = Counter("coderack_gateway_limits_local", "Admissions decided by a worker's own share, Redis being away.")
LIMITS_RECONNECTS = Counter("coderack_gateway_limits_reconnects", "Lost or refused Redis connections.")


@functools.cache
def directory_generation() -> Gauge:
    """What every worker has reached of the directory. Made in workers only: the master's nought would be the least."""
    told = "The directory's generation that every worker has reached."
    return Gauge("coderack_gateway_directory_generation", told, multiprocess_mode="livemin")


def prepare(directory: Path) -> None:
    """Make the directory and remove what an earlier master left; called before the workers start."""
    directory.mkdir(parents=True, exist_ok=True)
    for stale in directory.glob("*.db"):
        stale.unlink()


def render() -> bytes:
    """All workers' figures in Prometheus' text format, with what master and workers use."""
    registry = CollectorRegistry()
    registry.register(ProcessFamily(os.getppid()))
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget(pid: int) -> None:
    """Drop the gauges of a worker that is no more."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
