"""Everything that is not the data plane's own goes on to the console's Unix socket, both bodies streamed, with
backpressure.

One connection per request: the console is no hot path, and a fresh connection has no state to get wrong.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, cast

import httptools

from inference.gateway import errors
from inference.gateway.errors import ApiError
from inference.gateway.paths import CONTROL_API
from inference.gateway.request import Request, end_to_end

if TYPE_CHECKING:
    from inference.gateway.app import Gateway
    from inference.gateway.front import Front

CONNECT_S = 5.0
MAX_HEAD_BYTES = 256 * 1024
LEFT_BYTES = 65536
# Ours alone: what the client says of itself under these names goes no further.
_OURS = frozenset({b"x-request-id", b"forwarded", b"x-real-ip", b"expect", b"content-length"})
_NOT_BACK = frozenset({b"server", b"date", b"x-request-id", b"content-length"})
_AWAY_HTML = (
    b"<!doctype html><html lang=en><meta charset=utf-8><title>503</title>"
    b"<p>The console is not running at the moment. Inference goes on; this page will be back shortly.</p>"
)


class ConsoleSplice(asyncio.Protocol):
    """One request at the console: the front's handler and the console's protocol in one."""

    def __init__(self, gateway: Gateway, front: Front, request: Request) -> None:
        self._gateway = gateway
        self._front: Front | None = front
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = [self._head()]
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._num_head_bytes = 0
        self._head_seen = False
        self._started = False
        self._complete = False
        front.hold_body(True)  # until the console is there to take it
        gateway.spawn(self._connect())

    # --- towards the console

    def _head(self) -> bytes:
        request = self._request
        kept = [
            (name, value)
            for name, value in end_to_end(request.headers)
            if name not in _OURS and not name.startswith(b"x-forwarded-")
        ]
        own = [
            (b"x-forwarded-for", request.peer.encode()),
            (b"x-forwarded-proto", self._gateway.settings.public_scheme.encode()),
            (b"x-forwarded-host", request.header(b"host") or b""),
            (b"x-request-id", request.request_id.encode()),
            (b"connection", b"close"),
        ]
        length = request.content_length
        if length is not None:
            own.append((b"content-length", b"%d" % length))
        elif request.header(b"transfer-encoding") is not None:
            own.append((b"transfer-encoding", b"chunked"))
        lines = [b"%b %b HTTP/1.1" % (request.method, request.raw_target)]
        lines += [b"%b: %b" % pair for pair in (*kept, *own)]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    @property
    def _rechunks(self) -> bool:
        return self._request.content_length is None and self._request.header(b"transfer-encoding") is not None

    async def _connect(self) -> None:
        path = str(self._gateway.settings.console_socket)
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._gateway.loop.create_unix_connection(lambda: self, path)
        except (OSError, TimeoutError):
            self._away()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the console is there."""
        stream = cast(asyncio.Transport, transport)
        if self._front is None:
            stream.abort()
            return
        self._transport = stream
        waiting, self._waiting = self._waiting, []
        stream.writelines(waiting)
        self._front.hold_body(False)

    def body(self, chunk: bytes) -> None:
        """A piece of the client's body."""
        self._send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._rechunks else chunk)

    def body_end(self) -> None:
        """The client's request is whole."""
        if self._rechunks:
            self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        if self._transport is None:
            self._waiting.append(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

    def pause_writing(self) -> None:
        """asyncio: the console does not keep up with the client's body."""
        if self._front is not None:
            self._front.hold_body(True)

    def resume_writing(self) -> None:
        """asyncio: it has caught up."""
        if self._front is not None:
            self._front.hold_body(False)

    # --- from the console

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of the answer."""
        if self._front is None:
            return
        if not self._head_seen:
            self._num_head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._away()
            return
        if not self._head_seen and self._num_head_bytes > MAX_HEAD_BYTES:
            self._away()
        elif self._complete:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the console closed."""
        self._take_what_is_left()
        if self._front is None:
            return
        framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in self._headers)
        if self._head_seen and not framed and exc is None:
            self._end()  # such a body ends where the connection ends
        else:
            self._away()

    def _take_what_is_left(self) -> None:
        """Read an early answer that a failed write would lose: asyncio closes the socket right after this call."""
        sock = self._transport.get_extra_info("socket") if self._transport is not None else None
        while self._front is not None and sock is not None:
            try:
                data = os.read(sock.fileno(), LEFT_BYTES)
            except OSError:
                return
            if not data:
                return
            self.data_received(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: a header (trailers are dropped)."""
        if not self._head_seen:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """httptools: the head is whole."""
        status = self._parser.get_status_code()
        if status < 200:
            self._headers = []
            return
        self._head_seen = True
        if self._front is None:
            return
        self._started = True
        length = next((int(value) for name, value in self._headers if name == b"content-length"), None)
        kept = [(name, value) for name, value in end_to_end(self._headers) if name not in _NOT_BACK]
        if self._request.method == b"HEAD" or status in (204, 304):
            self._complete = True  # nothing follows, whatever the head says
        self._front.start(status, kept, length)

    def on_body(self, body: bytes) -> None:
        """httptools: a piece of the answer."""
        if self._front is not None:
            self._front.write(body)

    def on_message_complete(self) -> None:
        """httptools: the answer is whole."""
        if self._head_seen:
            self._complete = True

    # --- endings

    def _end(self) -> None:
        front, self._front = self._front, None
        self._close()
        if front is not None:
            front.finish()

    def _away(self) -> None:
        front, self._front = self._front, None
        self._close()
        if front is None:
            return
        if self._started:
            front.cut()
        elif self._request.target.is_api or self._request.raw_target.startswith(CONTROL_API):
            front.refuse(errors.overloaded("This part of the service is not running at the moment."))
        else:
            headers = [(b"content-type", b"text/html; charset=utf-8"), (b"retry-after", b"5")]
            front.respond(503, headers, _AWAY_HTML)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def client_lost(self) -> None:
        """The client left."""
        self._front = None
        self._close()

    def pause_output(self) -> None:
        """The client does not keep up."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_output(self) -> None:
        """The client has caught up."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def expire(self, error: ApiError) -> None:
        """The gateway's time is up."""
        self._away()

    def sweep(self, now: float) -> None:
        """The console has its own time-outs."""
