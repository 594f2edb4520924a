"""The loads and the figures that each gives. A figure's name is `load: what`; times are milliseconds, CPU is the
contender's own."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.bench.contenders import Contender
from tests.bench.harness import Answer, Harness
from tests.bench.machine import Others, family, memory_bytes, num_sockets

Figures = dict[str, float]


@dataclass(frozen=True)
class Load:
    """One load of every round, as orders for the harness; `times` as long as others, where streams must begin and end in it."""

    name: str
    says: str
    orders: dict[str, Any]
    times: int = 1


LOADS = (
    Load("unpaced 64", "64 streams, the next event sent when the last has arrived", {"kind": "unpaced", "streams": 64}),
    Load("unpaced 256", "the same with 256 streams", {"kind": "unpaced", "streams": 256}),
    Load(
        "spread",
        "256 streams of 500 events, one every 20 ms, each at its own phase",
        {"kind": "paced", "streams": 256, "period_us": 20000, "events": 500},
        times=3,
    ),
    Load(
        "together",
        "the same, all ticking at the same moment",
        {"kind": "paced", "streams": 256, "period_us": 20000, "events": 500, "together": 1},
        times=3,
    ),
    Load(
        "fast",
        "256 streams of 2,000 events, one every 5 ms",
        {"kind": "paced", "streams": 256, "period_us": 5000, "events": 2000},
    ),
    Load("unary", "16 clients, short whole answers one after the other", {"kind": "unary", "streams": 16}),
    Load(
        "short",
        "16 clients, unpaced streams of 3 events one after the other",
        {"kind": "unpaced", "streams": 16, "events": 3},
    ),
)
SLOW = {"kind": "paced", "streams": 2000, "period_us": 1_000_000}
FLOOD = {"kind": "flood", "streams": 1, "bytes": 256 * 1024 * 1024}
LEAVING = {"kind": "leave", "streams": 32}
LEAVING_UNARY = {"kind": "leave-unary", "streams": 32}


@dataclass
class Bench:
    """Puts loads on contenders, and keeps count of what the engine generated for each."""

    harness: Harness
    seconds: float
    others: Others = field(default_factory=Others)
    generated: dict[str, int] = field(default_factory=dict)

    def run(
        self, contender: Contender, seconds: float | None = None, while_steady: Any = None, **orders: Any
    ) -> Answer:
        pids = [*contender.pids(), *contender.helpers.values()]
        before = self.others.read()
        began = time.monotonic()
        answer = self.harness.run(
            while_steady,
            address=contender.address,
            key=contender.key,
            seconds=seconds or self.seconds,
            pids=",".join(map(str, pids)),
            **orders,
        )
        self.others.count(before, answer["harness_cpu_s"] + sum(answer["cpu_s"]), time.monotonic() - began)
        self.generated[contender.name] = self.generated.get(contender.name, 0) + answer["tokens"]
        num_helpers = len(contender.helpers)
        answer["own_cpu_s"] = sum(answer["cpu_s"][: len(pids) - num_helpers])
        answer["helper_cpu_s"] = dict(zip(contender.helpers, answer["cpu_s"][len(pids) - num_helpers :], strict=True))
        return answer

    def measure(self, load: Load, contender: Contender) -> Figures:
        """One load's figures."""
        answer = self.run(contender, self.seconds * load.times, **load.orders)
        kind = load.orders["kind"]
        asks = kind == "unary" or load.name == "short"
        found = requests(answer) if asks else events(answer, paced=kind == "paced")
        return {f"{load.name}: {name}": value for name, value in found.items()}


def events(answer: Answer, *, paced: bool) -> Figures:
    """Figures of long streams."""
    seconds, num = answer["seconds"], max(answer["events"], 1)
    found = {
        "events/s": num / seconds,
        "CPU s per 1M events": answer["own_cpu_s"] / num * 1e6,
        "core's share used": answer["own_cpu_s"] / seconds,
        "harness' share used": answer["harness_cpu_s"] / seconds,
    }
    if paced:
        found |= {
            "event delay p50": answer["delay"]["p50_ms"],
            "event delay p99": answer["delay"]["p99_ms"],
            "in time, %": 100 * answer["in_time"] / max(answer["sent"], num, 1),
            "engine late p99": answer["late"]["p99_ms"],
            "first event p99": answer["first"]["p99_ms"],
        }
    return found


def requests(answer: Answer) -> Figures:
    """Figures of many short requests."""
    num = max(answer["answers"], 1)
    found = {
        "requests/s": num / answer["seconds"],
        "CPU ms per request": answer["own_cpu_s"] / num * 1e3,
        "answer p50": answer["answer"]["p50_ms"],
        "answer p99": answer["answer"]["p99_ms"],
    }
    helpers = {f"{name}'s CPU ms per request": spent / num * 1e3 for name, spent in answer["helper_cpu_s"].items()}
    return found | helpers


def memory(bench: Bench, contender: Contender, seconds: float) -> Figures:
    """What 2,000 slow streams hold, and by how much a reader that never reads makes it grow."""
    slow = Watch(contender)
    bench.run(contender, seconds, slow.until(seconds), **SLOW)
    flood = Watch(contender)
    bench.run(contender, seconds, flood.until(seconds), **FLOOD)
    return {"2,000 slow streams: MB": slow.peak / 1e6, "never read: MB more": (flood.peak - flood.before) / 1e6}


class Watch:
    """A contender's memory, before a load and at its peak under it."""

    def __init__(self, contender: Contender) -> None:
        self._pids = contender.pids()
        self.before = self.peak = memory_bytes(self._pids)

    def until(self, seconds: float) -> Any:
        """What reads it while the load is on."""

        def read() -> None:
            ended = threading.Event()
            for _ in range(10):
                self.peak = max(self.peak, memory_bytes(self._pids))
                ended.wait(seconds / 12)

        return read


def leaving(bench: Bench, contender: Contender, seconds: float) -> Figures:
    """How long the engine still works for clients that left, by stream and by whole answer."""
    found: Figures = {}
    for name, orders in (("stream", LEAVING), ("unary", LEAVING_UNARY)):
        answer = bench.run(contender, max(seconds, 1.0), **orders)
        cancel = answer["cancel"]
        found[f"left {name}: engine stopped, % of clients"] = 100 * cancel["num"] / answer["left"]
        found[f"left {name}: until the engine stopped, median"] = cancel["p50_ms"]
        found[f"left {name}: until the engine stopped, longest"] = cancel["max_ms"]
    return found


def two_workers(bench: Bench, one: Contender, two: Contender, rounds: int) -> Figures:
    """CPU per event of two workers against one, in turns, and how the streams fell on the two."""
    assert two.pid is not None
    workers = [pid for pid in family(two.pid) if pid != two.pid]
    load = next(load for load in LOADS if load.name == "spread")
    costs: list[float] = []
    shares: list[float] = []
    for _ in range(rounds):
        alone = events(bench.run(one, **load.orders), paced=True)
        before = [num_sockets(pid) for pid in workers]
        during: list[int] = []
        both = bench.run(two, None, lambda: during.extend(map(num_sockets, workers)), **load.orders)  # noqa: B023
        grown = [now - was for now, was in zip(during, before, strict=True)]
        costs.append(events(both, paced=True)["CPU s per 1M events"] / alone["CPU s per 1M events"])
        shares.append(100 * min(grown) / sum(grown))
    return {
        "two workers: CPU per event, of one worker's": statistics.median(costs),
        "two workers: the lesser one's share of the streams, %": min(shares),
    }
