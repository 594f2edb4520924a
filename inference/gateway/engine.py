"""The lean client towards engines: one protocol per connection, kept alive in a pool per engine.

An engine of the pool's is named by its socket's path; one that was attached is an `Attached`, and reached as that module says.
It parses answers (httptools) and hands them on in as few calls as reads; what they mean is the receiver's matter.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol, cast

import httptools

from inference.gateway import metrics
from inference.gateway.attached import Attached, Outside
from inference.gateway.passage import Passage

log = logging.getLogger(__name__)

# uvicorn, in the engine, closes a connection that was idle for 5 s: one is used again only well before that.
IDLE_REUSE_S = 3.0
MAX_BARREN_BYTES = 256 * 1024  # in a row, neither a whole head nor a body: an endless header is a server's fault

Target = str | Attached


class Receiver(Protocol):
    """Who gets an answer, in this order: head, data any number of times, complete; or lost at any point."""

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Status and headers."""

    def on_data(self, data: bytes) -> None:
        """Bytes of the body, everything that one read brought."""

    def on_complete(self) -> None:
        """The answer is whole."""

    def on_lost(self) -> None:
        """The connection ended before that."""


class EngineConnection(asyncio.Protocol):
    """One connection, one request at a time."""

    __slots__ = (
        "_barren",
        "_between_chunks",
        "_complete",
        "_headers",
        "_in_chunk",
        "_keep_alive",
        "_parser",
        "_parts",
        "_passage",
        "_pool",
        "_receiver",
        "_status",
        "_target",
        "_transport",
        "_way",
        "idle_since",
    )

    def __init__(self, pool: EnginePool, target: Target) -> None:
        self._pool = pool
        self._target = target
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._parts: list[bytes] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._status: int | None = None
        self._complete = False
        self._keep_alive = False
        self._barren = 0
        self._in_chunk: bool | None = None  # None: no chunk has begun
        self._between_chunks = False
        self._passage: Passage | None = None
        self._way: Passage | None = None  # the passage while the transport's reads go there
        self.idle_since = 0.0

    def send(self, data: bytes, receiver: Receiver) -> None:
        """Write one request; its answer goes to the receiver."""
        self._receiver = receiver
        self._parser = httptools.HttpResponseParser(self)
        self._parts, self._headers, self._status, self._complete = [], [], None, False
        self._keep_alive = False
        self._barren = 0
        self._in_chunk, self._between_chunks = None, False
        self.shorten(None)
        if self._transport is None or self._transport.is_closing():
            asyncio.get_running_loop().call_soon(self._lose)
            return
        self._transport.write(data)

    def pause(self) -> None:
        """Read no more until `resume`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def shorten(self, passage: Passage | None) -> None:
        """Reads that begin between two chunks go to the passage, and what it does not take comes back here."""
        self._passage = passage
        self._choose_way()

    def _choose_way(self) -> None:
        way = self._passage if self._between_chunks else None
        if way is not self._way and self._transport is not None:
            self._way = way
            # All that asyncio calls of a protocol is there.
            self._transport.set_protocol(self if way is None else cast(asyncio.Protocol, way))

    def close(self) -> None:
        """Give the connection up; the receiver hears nothing more."""
        self._receiver = None
        self.shorten(None)
        if self._transport is not None:
            self._transport.abort()

    @property
    def usable(self) -> bool:
        """Whether another request may be written."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: gone."""
        self._pool.forget(self._target, self)
        self._passage = self._way = self._parser = None  # each holds the connection
        self._lose()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of an answer; one call of the receiver for all of them."""
        if self._receiver is None or self._parser is None:
            self.close()  # bytes that nobody asked for
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._deliver()
            self._lose()
            self.close()
            return
        # A chunk's end and the next one's size line both end like this; the latter began a chunk.
        self._between_chunks = self._in_chunk is False and data.endswith(b"\r\n")
        self._barren = 0 if self._parts or self._status is not None else self._barren + len(data)
        if self._barren > MAX_BARREN_BYTES:
            self._lose()
            self.close()
            return
        receiver = self._receiver
        try:
            self._deliver()
            if self._complete and self._receiver is not None:
                self._receiver = None
                self._between_chunks = False
                self.shorten(None)
                if self._keep_alive:
                    self._pool.release(self._target, self)
                elif self._transport is not None:
                    self._transport.close()
                receiver.on_complete()
            else:
                self._choose_way()
        except Exception as error:  # noqa: BLE001 - the top: what a server wrote may be anything, and the client waits
            log.error("an engine's answer can't be read: %s", type(error).__name__)
            metrics.GARBLED.inc()
            self._receiver = receiver
            self._lose()
            self.close()

    def _deliver(self) -> None:
        if self._status is not None and self._receiver is not None:
            status, self._status = self._status, None
            self._receiver.on_head(status, self._headers)
        if self._parts and self._receiver is not None:
            parts, self._parts = self._parts, []
            self._receiver.on_data(parts[0] if len(parts) == 1 else b"".join(parts))

    def _lose(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.on_lost()

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header (or trailer, which nobody reads)."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """httptools: the head is whole."""
        assert self._parser is not None  # noqa: S101 - the parser is calling
        status = self._parser.get_status_code()
        if status < 200:  # told ahead of the answer, by a proxy for one
            self._headers = []
        else:
            self._status = status

    def on_body(self, body: bytes) -> None:
        """httptools: a piece of the body."""
        self._parts.append(body)

    def on_chunk_header(self) -> None:
        """httptools: a chunk's size is known."""
        self._in_chunk = True

    def on_chunk_complete(self) -> None:
        """httptools: a chunk is whole."""
        self._in_chunk = False

    def on_message_complete(self) -> None:
        """httptools: the answer is whole. Only here does the parser know whether the connection may be used again."""
        assert self._parser is not None  # noqa: S101 - the parser is calling
        if self._parser.get_status_code() < 200:
            return
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()


class EnginePool:
    """Idle connections by engine."""

    def __init__(self, outside: Outside) -> None:
        self.outside = outside
        self._idle: dict[Target, list[EngineConnection]] = {}

    async def acquire(self, target: Target, *, fresh: bool = False) -> EngineConnection:
        """A connection to write one request to.

        Raises: OSError when the engine does not accept.
        """
        idle = self._idle.get(target)
        while idle and not fresh:
            connection = idle.pop()
            if connection.usable and time.monotonic() - connection.idle_since < IDLE_REUSE_S:
                return connection
            connection.close()
        if isinstance(target, Attached):
            return await self.outside.connect(target, lambda: EngineConnection(self, target))
        make = asyncio.get_running_loop().create_unix_connection(lambda: EngineConnection(self, target), target)
        return (await make)[1]

    def post(self, target: Target, path: bytes, body: bytes, request_id: bytes) -> bytes:
        """The bytes of a request to this engine."""
        if isinstance(target, Attached):
            return self.outside.post(target, path, body, request_id)
        return post(path, body, request_id)

    def release(self, target: Target, connection: EngineConnection) -> None:
        """Take a connection back whose answer is whole."""
        connection.idle_since = time.monotonic()
        connection.resume()
        self._idle.setdefault(target, []).append(connection)

    def forget(self, target: Target, connection: EngineConnection) -> None:
        """A connection ended."""
        if connection in (idle := self._idle.get(target, [])):
            idle.remove(connection)

    def sweep(self) -> None:
        """Close what was idle too long."""
        oldest = time.monotonic() - IDLE_REUSE_S
        for target, idle in list(self._idle.items()):
            for connection in [one for one in idle if one.idle_since < oldest]:
                idle.remove(connection)
                connection.close()
            if not idle:
                del self._idle[target]

    def close(self) -> None:
        """Close all idle connections."""
        for idle in self._idle.values():
            for connection in list(idle):
                connection.close()
        self._idle.clear()


def post(path: bytes, body: bytes, request_id: bytes) -> bytes:
    """The bytes of a request to an engine; the path is one of a fixed few."""
    return b"".join(
        (
            b"POST %b HTTP/1.1\r\nHost: engine\r\n" % path,
            b"Content-Type: application/json\r\nX-Request-Id: %b\r\n" % request_id,
            b"Content-Length: %d\r\n\r\n" % len(body),
            body,
        )
    )
