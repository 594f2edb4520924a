"""What a look through the gateway's queue costs while many tenants wait: nothing free, a place free, a newcomer.

Run by hand: `python -m tests.bench.queue_look`. One worker with a real board; medians in microseconds.
"""

from __future__ import annotations

import asyncio
import functools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from inference.gateway import errors
from inference.gateway.board import Board
from inference.gateway.directory import Directory, Replica, Snapshot
from inference.gateway.dispatch import Dispatcher
from inference.gateway.lanes import Lane
from inference.gateway.place import Place
from inference.gateway.queue import Errand, FairQueue, Waiting
from inference.gateway.usage import Usage

TIMES = 200
USED = Usage(prompt_tokens=100, completion_tokens=100, exact=True)


def errand(tenant: str) -> Errand:
    return Errand(Lane.CHAT, tenant, 100, "m", "m", 1, 1, 100, 100, 400)


async def look(root: Path, tenants: int) -> tuple[float, float, float, float]:
    """Microseconds of a look: nothing free, a place given away, a request that joins; and of reckoning all keys anew."""
    replicas = {"m": tuple(Replica(f"r{n}", f"l{n}", "m", f"/{n}", 8) for n in range(4))}
    worker = Dispatcher(Directory(Snapshot(1, replicas=replicas)), Board(root / "board"), FairQueue(10**4, 10**9), 600)
    running: list[Place] = []
    while isinstance(found := worker.ask(errand("first")), Place):
        running.append(found)
    waiting = [found]
    for number in range(tenants):
        for _ in range(2):
            _join(worker, errand(f"t{number}"), waiting)
    idle = [_timed(worker._pump) for _ in range(TIMES)]
    placing, joining = [], []
    for number in range(TIMES):
        running.pop(0).leave(USED)
        placing.append(_timed(worker._pump))
        running += [one.answer.result() for one in waiting if one.answer.done()]  # type: ignore[misc]
        waiting = [one for one in waiting if not one.answer.done()]
        asked: list[Waiting[Place]] = []
        joining.append(_timed(functools.partial(_join, worker, errand(f"late{number % 50}"), asked)))
        waiting += asked
    ranking = [_timed(functools.partial(worker._heads.keep_ranked, time.monotonic() + 10 * n)) for n in range(1, 20)]
    worker.close(errors.draining())
    for one in waiting:
        one.answer.exception()
    worker.shut()
    return tuple(statistics.median(one) for one in (idle, placing, joining, ranking))  # type: ignore[return-value]


def _join(worker: Dispatcher, what: Errand, waiting: list[Waiting[Place]]) -> None:
    found = worker.ask(what)
    assert isinstance(found, Waiting)
    waiting.append(found)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e6


def main() -> None:
    """Print a line for each number of tenants."""
    sys.stdout.write("tenants  nothing free  a place free  a newcomer  all keys anew (µs)\n")
    for tenants in (1, 50, 500):
        with TemporaryDirectory() as root:
            idle, placing, joining, ranking = asyncio.run(look(Path(root), tenants))
        sys.stdout.write(f"{tenants:7}  {idle:12.0f}  {placing:12.0f}  {joining:10.0f}  {ranking:13.0f}\n")


if __name__ == "__main__":
    main()
