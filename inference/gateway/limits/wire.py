"""One pipelined connection to Redis: commands are written at the end of each turn, answers are matched in their order.

A call costs no task and no lock. Whoever calls waits with a time limit of their own; what comes too late is thrown away.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.connection import parse_url

log = logging.getLogger(__name__)

Argument = str | bytes | int | float
Late = Callable[[Any], None]
CONNECT_S = 2.0
MAX_WAITING = 10_000


class RedisAway(Exception):
    """There is no connection, or it broke before the answer came."""

    permanent = False


class RedisRefused(Exception):
    """Redis answered with an error."""

    permanent = True


class RedisWire(asyncio.Protocol):
    """A connection. Made by `connect`; broken, it stays so."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(protocolError=RedisRefused, replyError=RedisRefused)
        self._waiting: deque[tuple[asyncio.Future[Any], Late | None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._unsent: list[bytes] = []

    @property
    def open(self) -> bool:
        """Whether a command can be written."""
        return self._transport is not None and not self._transport.is_closing()

    def call(self, *arguments: Argument, late: Late | None = None) -> asyncio.Future[Any]:
        """Write a command; the answer, or RedisRefused or RedisAway.

        `late` gets an answer that nobody waits for any more, None where the connection breaks before it.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._transport is None or self._transport.is_closing() or len(self._waiting) >= MAX_WAITING:
            future.set_exception(RedisAway("no connection"))
            return future
        self._waiting.append((future, late))
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(hiredis.pack_command(arguments))  # type: ignore[arg-type]
        return future

    def _send(self) -> None:
        """The commands of one turn leave together: one call of the kernel here, one waking of Redis there."""
        unsent, self._unsent = self._unsent, []
        if self._transport is not None:
            self._transport.write(b"".join(unsent))

    def close(self) -> None:
        """Give it up."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of answers."""
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                self._deliver(answer)
        except RedisRefused:
            log.warning("limits: Redis speaks another protocol")
            self.close()

    def _deliver(self, answer: Any) -> None:
        if not self._waiting:
            self.close()
            return
        future, late = self._waiting.popleft()
        if future.done():
            if late is not None and not isinstance(answer, RedisRefused):
                late(answer)
            return
        if isinstance(answer, RedisRefused):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: gone."""
        self._transport = None
        self._unsent.clear()
        waiting, self._waiting = self._waiting, deque()
        for future, late in waiting:
            if future.done():
                if late is not None:
                    late(None)
            else:
                future.set_exception(RedisAway("the connection broke"))
                future.exception()  # whoever gave up waiting must not be told by the loop


async def connect(url: str) -> RedisWire:
    """A connection that is logged in, to the database that the URL names.

    Raises: RedisAway, RedisRefused.
    """
    options = dict(parse_url(url))  # type: ignore[no-untyped-call]
    try:
        async with asyncio.timeout(CONNECT_S):
            wire = await _open(url, options)
            if options.get("password"):
                names = (options["username"],) if options.get("username") else ()
                await wire.call("AUTH", *names, options["password"])
            if options.get("db"):
                await wire.call("SELECT", options["db"])
    except (OSError, TimeoutError) as error:
        raise RedisAway(f"Redis does not answer: {error or 'no answer in time'}") from None
    return wire


async def _open(url: str, options: dict[str, Any]) -> RedisWire:
    loop = asyncio.get_running_loop()
    if "path" in options:
        return (await loop.create_unix_connection(RedisWire, options["path"]))[1]
    tls = ssl.create_default_context() if url.startswith("rediss:") else None
    host, port = options.get("host", "127.0.0.1"), options.get("port", 6379)
    return (await loop.create_connection(RedisWire, host, port, ssl=tls))[1]
