"""One kept-alive connection to the gateway that asks for a streamed completion at a time and counts its events as they come.

Lean on purpose: at thousands of events a second the client must not be what is measured. An event costs one look for a
few bytes; only the last event is parsed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httptools
import msgspec

_EVENT = b"\n\ndata: {"  # inside JSON a line's end is escaped, so nothing else looks like this
_TAIL_BYTES = 16 * 1024
_REQUEST_ID = b"x-request-id"


@dataclass
class Answer:
    """What came of one request so far. Times are the loop's clock; None until something came."""

    window: tuple[float, float]
    status: int = 0
    request_id: str = ""
    first_at: float | None = None
    last_at: float = 0.0
    events: int = 0
    events_in_window: int = 0
    usage: dict[str, Any] | None = None
    error: str = ""
    carry: bytes = b"\n\n"
    tail: bytes = b""
    whole: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, piece: bytes, now: float) -> None:
        """Count what a piece of the body brings."""
        self.tail = (self.tail + piece)[-_TAIL_BYTES:]
        joined = self.carry + piece
        self.carry = joined[-(len(_EVENT) - 1) :]
        count = joined.count(_EVENT)
        if not count:
            return
        if self.first_at is None:
            self.first_at = now
        self.last_at = now
        self.events += count
        if self.window[0] <= now < self.window[1]:
            self.events_in_window += count

    def close(self) -> None:
        """The body is whole: read the usage out of its last event, which has no token and is counted no more."""
        if self.status != 200:
            self.error = f"HTTP {self.status}: {self.tail[-300:].decode(errors='replace').strip()}"
            return
        usage = _usage(self.tail)
        if usage is None or not self.tail.rstrip().endswith(b"data: [DONE]"):
            self.error = f"the stream ended without usage: {self.tail[-300:].decode(errors='replace').strip()}"
            return
        self.usage = usage
        self.events -= 1
        if self.window[0] <= self.last_at < self.window[1]:
            self.events_in_window -= 1


def _usage(tail: bytes) -> dict[str, Any] | None:
    lines = [line for line in tail.splitlines() if line.startswith(b"data: {")]
    try:
        last = msgspec.json.decode(lines[-1][6:]) if lines else {}
    except msgspec.DecodeError:
        return None
    usage = last.get("usage") if isinstance(last, dict) else None
    return usage if isinstance(usage, dict) else None


class Stream(asyncio.Protocol):
    """A connection; `ask` is called for one request after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._answer: Answer | None = None

    @property
    def is_open(self) -> bool:
        """Whether the next request may go over it."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket, for the type checker
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's. An answer that was on its way fails."""
        self._fail(f"the connection was closed: {exc or 'by the gateway'}")
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Asyncio's."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, AttributeError) as error:  # AttributeError: bytes nobody asked for
            self._fail(f"not an answer: {error}")
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's."""
        if self._answer is not None and name.lower() == _REQUEST_ID:
            self._answer.request_id = value.decode(errors="replace")

    def on_headers_complete(self) -> None:
        """The parser's."""
        if self._answer is not None:
            self._answer.status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        """The parser's."""
        if self._answer is not None:
            self._answer.take(piece, self._loop.time())

    def on_message_complete(self) -> None:
        """The parser's."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        answer.close()
        if not self._parser.should_keep_alive():
            self.close()
        answer.whole.set()

    async def ask(self, request: bytes, answer: Answer, timeout_s: float) -> None:
        """Send a request and wait until its answer is whole, failed, or late."""
        if self._transport is None:
            answer.error = "the connection was closed before the request"
            return
        self._answer, self._parser = answer, httptools.HttpResponseParser(self)
        self._transport.write(request)
        try:
            async with asyncio.timeout(timeout_s):
                await answer.whole.wait()
        except TimeoutError:
            self._fail(f"no whole answer within {timeout_s:.0f} s")
            self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def _fail(self, reason: str) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.error = reason
            answer.whole.set()
