"""Ends requests at an engine by their ids, on a connection of the pool's."""

from __future__ import annotations

import asyncio

import msgspec

from inference.gateway.engine import EnginePool, Target

ABORT_PATH = b"/inference/v1/abort_requests"


class _Ended:
    """A receiver that only waits for the end."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Ignored."""

    def on_data(self, data: bytes) -> None:
        """Ignored."""

    def on_complete(self) -> None:
        """Over."""
        self.on_lost()

    def on_lost(self) -> None:
        """Over as well."""
        if not self.ended.done():
            self.ended.set_result(None)


async def abort(pool: EnginePool, target: Target, engine_ids: list[str]) -> None:
    """Ask an engine to end requests by id.

    Raises: OSError when it can't be reached.
    """
    body = msgspec.json.encode({"request_ids": engine_ids})
    data = pool.post(target, ABORT_PATH, body, b"abort")
    connection = await pool.acquire(target)
    receiver = _Ended()
    try:
        connection.send(data, receiver)
        await receiver.ended
    finally:
        if not receiver.ended.done():
            connection.close()
