"""The four windows of one side of a round: what load runs, for how long, and which figures it gives.

A window's figures begin once all its clients have their first answers and end before they are told to stop, so that
connecting and ending count for nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from tests.bench.clients import Client, Clock, Lockstep, Paced, Tally, Target, Unary
from tests.bench.loop import Engine
from tests.bench.machine import cpu_s

PACE_S = 0.02
SMALL_STREAMS = 16
SMALL_EVENTS = 5
UNARY_CLIENTS = 8
PATIENCE_S = 20

Figures = dict[str, float]


class Window:
    """One load against one target, timed."""

    def __init__(self, engine: Engine, worker_pid: int | None, seconds: float) -> None:
        self.engine, self.worker_pid, self.seconds = engine, worker_pid, seconds
        self.tally = Tally()
        self.wall_s = self.worker_s = self.harness_s = 0.0
        self.num_events = self.num_answers = 0

    def run(self, clients: Sequence[Client], warm: Callable[[], bool], tick: Callable[[], float] | None = None) -> None:
        tally, loop = self.tally, self.engine.loop
        try:
            loop.run(warm, PATIENCE_S, tick)
            before, tally.timing = self._now(), True
            until = before[0] + self.seconds
            loop.run(lambda: time.perf_counter() >= until, self.seconds + PATIENCE_S, tick)
            after, tally.timing = self._now(), False
            tally.ending = True
            loop.run(lambda: tally.num_ended == tally.num_asked, PATIENCE_S, tick)
        finally:
            for client in clients:
                client.close()
            self.engine.streams.clear()
        spent = [end - start for start, end in zip(before, after, strict=True)]
        self.wall_s, self.worker_s, self.harness_s = spent[:3]
        self.num_events, self.num_answers = int(spent[3]), int(spent[4])

    def _now(self) -> tuple[float, float, float, int, int]:
        worker = cpu_s(self.worker_pid) if self.worker_pid else 0.0
        return time.perf_counter(), worker, time.process_time(), self.tally.num_events, self.tally.num_ended


def unpaced(window: Window, target: Target, num_streams: int) -> Figures:
    """As many events as pass, each stream's next one after its last has arrived."""
    tally = window.tally
    clients = [Lockstep(window.engine, target, number, tally) for number in range(num_streams)]
    for client in clients:
        client.ask()
    window.run(clients, lambda: tally.num_begun == num_streams)
    return {
        "unpaced_events_per_s": window.num_events / window.wall_s,
        "unpaced_gateway_cpu_s_per_1m": window.worker_s / window.num_events * 1e6,
        "unpaced_harness_cpu_s_per_1m": window.harness_s / window.num_events * 1e6,
        "unpaced_gateway_busy": window.worker_s / window.wall_s,
        "unpaced_harness_busy": window.harness_s / window.wall_s,
    }


def paced(window: Window, target: Target, num_streams: int) -> Figures:
    """A steady load of many streams."""
    tally, clock = window.tally, Clock(PACE_S)
    clients = [Paced(window.engine, target, number, tally, clock) for number in range(num_streams)]
    for client in clients:
        clock.wake(client, random.uniform(0, PACE_S))
    window.run(clients, lambda: tally.num_begun == num_streams, clock.tick)
    return {
        "paced_events_per_s": window.num_events / window.wall_s,
        "paced_gateway_cpu_s_per_1m": window.worker_s / window.num_events * 1e6,
        "paced_event_ms_p50": quantile(tally.event_delays, 0.5) * 1e3,
        "paced_event_ms_p99": quantile(tally.event_delays, 0.99) * 1e3,
    }


def small(window: Window, target: Target) -> Figures:
    """Few short streams, again and again: what a request's admission and its first event take."""
    tally, clock = window.tally, Clock(PACE_S)
    clients = [
        Paced(window.engine, target, number, tally, clock, num_events=SMALL_EVENTS) for number in range(SMALL_STREAMS)
    ]
    for client in clients:
        clock.wake(client, random.uniform(0, PACE_S * SMALL_EVENTS))
    window.run(clients, lambda: tally.num_begun >= SMALL_STREAMS * 2, clock.tick)
    return {
        "small_first_event_ms_p50": quantile(tally.first_event_delays, 0.5) * 1e3,
        "small_first_event_ms_p99": quantile(tally.first_event_delays, 0.99) * 1e3,
        "small_event_ms_p99": quantile(tally.event_delays, 0.99) * 1e3,
        "small_gateway_cpu_ms_per_request": window.worker_s / window.num_answers * 1e3,
    }


def unary(window: Window, target: Target) -> Figures:
    """Short whole answers, as many as pass."""
    tally = window.tally
    clients = [Unary(window.engine, target, number, tally) for number in range(UNARY_CLIENTS)]
    for client in clients:
        client.ask()
    window.run(clients, lambda: tally.num_ended >= UNARY_CLIENTS * 2)
    return {
        "unary_answers_per_s": window.num_answers / window.wall_s,
        "unary_answer_ms_p50": quantile(tally.answer_delays, 0.5) * 1e3,
        "unary_gateway_cpu_ms_per_request": window.worker_s / window.num_answers * 1e3,
    }


def quantile(values: list[float], share: float) -> float:
    """The value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
