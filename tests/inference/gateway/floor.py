"""Workers of one gateway on a real board, without engines: a test frees the places and sees who gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from inference.gateway import errors
from inference.gateway.board import Board
from inference.gateway.directory import Directory, Replica, Snapshot
from inference.gateway.dispatch import Dispatcher
from inference.gateway.errors import ApiError
from inference.gateway.lanes import Lane
from inference.gateway.place import Place
from inference.gateway.queue import Errand, FairQueue, Waiting
from inference.gateway.usage import Usage

ANSWER = Usage(prompt_tokens=100, completion_tokens=100, exact=True)


def replica(name: str = "one", model: str = "m", max_sequences: int | None = 1) -> Replica:
    return Replica(name, f"life-{name}", model, f"/{name}", max_sequences)


def directory(*replicas: Replica) -> Directory:
    by_model: dict[str, tuple[Replica, ...]] = {}
    for one in replicas or (replica(),):
        by_model[one.model] = (*by_model.get(one.model, ()), one)
    return Directory(Snapshot(1, replicas=by_model))


def errand(tenant: str, lane: Lane = Lane.CHAT, weight: int = 100, model: str = "m", **more: int) -> Errand:
    known = {"prefix": 1, "num_sequences": 1, "prompt_tokens": 100, "max_tokens": 100, "num_bytes": 400}
    return Errand(lane=lane, tenant=tenant, weight=weight, model=model, base="m", **{**known, **more})


class Floor:
    """Workers of one gateway, and the order in which requests got their places."""

    def __init__(self, root: Path, found: Directory, workers: int, queue: tuple[int, int], wait_s: float) -> None:
        boards = [Board(root / "board") for _ in range(workers)]
        self.workers = [Dispatcher(found, board, FairQueue(*queue), wait_s) for board in boards]
        self.order: list[str] = []
        self.running: list[tuple[str, Place]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def ask(self, what: Errand, worker: int = 0, name: str = "") -> Place | Waiting[Place]:
        found = self.workers[worker].ask(what)
        if isinstance(found, Place):
            self._got(name or what.tenant, found)
        else:
            self.tasks.append(asyncio.create_task(self._wait(name or what.tenant, found)))
        return found

    async def _wait(self, name: str, waiting: Waiting[Place]) -> None:
        try:
            place = await waiting.answer
        except ApiError:
            return
        if place is not None:
            self._got(name, place)

    def _got(self, name: str, place: Place) -> None:
        self.order.append(name)
        self.running.append((name, place))

    async def serve(self, num: int, used: Usage = ANSWER) -> None:
        """Let so many requests end, one after the other, each time waiting until its place is taken again."""
        for _ in range(num):
            taken = len(self.order)
            self.running.pop(0)[1].leave(used)
            async with asyncio.timeout(20):
                while len(self.order) == taken:
                    await asyncio.sleep(0.001)


def on_floor(
    play: Callable[[Floor], Awaitable[Any]],
    *replicas: Replica,
    workers: int = 1,
    queue: tuple[int, int] = (1000, 10**6),
    wait_s: float = 600,
) -> Any:
    async def run() -> Any:
        with TemporaryDirectory() as root:
            floor = Floor(Path(root), directory(*replicas), workers, queue, wait_s)
            try:
                return await play(floor)
            finally:
                for worker in floor.workers:
                    worker.close(errors.draining())
                await asyncio.gather(*floor.tasks)
                for worker in floor.workers:
                    worker.shut()

    return asyncio.run(run())
