"""The front: one asyncio protocol per client connection, HTTP/1.1 parsed by llhttp, one request at a time answered.

It owns framing, keep-alive, pipelining, limits on heads and all the clock-driven endings. Who answers a request is
decided per request by the gateway; what the answer is, is the handler's matter.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, cast

from inference.gateway import errors
from inference.gateway.answer import AnswerWriter, last_answer
from inference.gateway.closing import Linger, Stall
from inference.gateway.errors import ApiError
from inference.gateway.reader import RequestReader, check_head
from inference.gateway.refusal import Refusal
from inference.gateway.request import Headers, Request, new_request_id
from inference.gateway.uploads import SMALL_BYTES

if TYPE_CHECKING:
    from inference.gateway.app import Gateway

WRITE_HIGH_BYTES = 256 * 1024


class Front(AnswerWriter, asyncio.Protocol):
    """A client's connection."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self._gateway = gateway
        self._reader: RequestReader  # from `connection_made` on
        self._requests: deque[Request] = deque()  # the first one is being answered
        self._broken = False  # no further request is read from this connection
        self._linger: Linger | None = None
        self._close_after = self._read_held = False
        self._last_read = time.monotonic()
        self._stall = Stall(self._last_read)
        self.output_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        peer = transport.get_extra_info("peername")
        self._reader = RequestReader(self, peer[0] if isinstance(peer, tuple) else "")
        self._gateway.fronts.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: gone."""
        self._gateway.fronts.discard(self)
        self._broken = True
        self._reader.close()
        requests, self._requests = self._requests, deque()
        if requests and (handler := requests[0].handler) is not None:
            requests[0].handler = None
            handler.client_lost()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of requests."""
        self._last_read = time.monotonic()
        if self._linger is not None:
            if not self._linger.takes(data):
                self._transport.abort()
            return
        if self._broken:
            return
        try:
            if not self._reader.feed(data):
                self._broken = True
        except ApiError as error:
            self._reject(error)
            return
        self._hold_reading()

    def eof_received(self) -> bool:
        """asyncio: the client will send no more, which here means that it left."""
        return False

    def pause_writing(self) -> None:
        """asyncio: the client does not keep up."""
        self.output_paused = True
        if self._requests and self._requests[0].handler is not None:
            self._requests[0].handler.pause_output()

    def resume_writing(self) -> None:
        """asyncio: the client has caught up."""
        self.output_paused = False
        if self._requests and self._requests[0].handler is not None:
            self._requests[0].handler.resume_output()
        elif self._requests:
            self._gateway.loop.call_soon(self._next)

    def request_begun(self, request: Request) -> None:
        """A head is whole."""
        if self._broken:
            return
        self._requests.append(request)
        if len(self._requests) == 1 and not self.output_paused:
            self._begin(request)

    def request_body(self, body: bytes) -> None:
        """A piece of the last request's body."""
        if self._broken or not self._requests:
            return
        request = self._requests[-1]
        if request.handler is not None:
            request.handler.body(body)
        else:
            request.waiting_body.append(body)

    def request_whole(self) -> None:
        """The last request is whole."""
        if self._broken or not self._requests:
            return
        request = self._requests[-1]
        request.complete = True
        if request.handler is not None:
            request.handler.body_end()

    # --- requests

    def _begin(self, request: Request) -> None:
        self._close_after = self._gateway.draining or not request.keep_alive or request.version == "1.0"
        self.answering = False
        try:
            self._close_after, close_after = True, self._close_after
            check_head(request)
            self._close_after = close_after
            request.handler = self._gateway.dispatch(self, request)
        except ApiError as error:
            request.handler = Refusal(self, error, self._gateway.settings.max_body_bytes)
        self._answer_early(request)
        waiting, request.waiting_body = request.waiting_body, []
        for chunk in waiting:
            if self._is_current(request):
                request.handler.body(chunk)
        if request.complete and self._is_current(request):
            request.handler.body_end()

    def _is_current(self, request: Request) -> bool:
        return bool(self._requests) and self._requests[0] is request

    def _answer_early(self, request: Request) -> None:
        """What need not wait for the body: a refusal of a large one, and the answer to an expectation."""
        settings = self._gateway.settings
        full = isinstance(request.handler, Refusal) and request.handler.status == 503
        most = SMALL_BYTES if full else settings.max_body_bytes
        if isinstance(request.handler, Refusal) and (request.content_length or 0) > most:
            request.handler.now()
        if request.header(b"expect") is None or request.complete or request.waiting_body:
            return
        if isinstance(request.handler, Refusal):
            request.handler.now()  # the client has not sent its body yet and need not
        elif self._is_current(request):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _hold_reading(self) -> None:
        """A second request on the wire waits there until the first is answered, and so does one not begun yet."""
        waits = len(self._requests) > 1 or (bool(self._requests) and self._requests[0].handler is None)
        if waits and not self._read_held and not self._transport.is_closing():
            self._read_held = True
            self._transport.pause_reading()

    def hold_body(self, held: bool) -> None:
        """Backpressure of whoever takes the current request's body."""
        if self._transport.is_closing() or len(self._requests) > 1 or held == self._read_held:
            return
        self._read_held = held
        if held:
            self._transport.pause_reading()
        else:
            self._last_read = time.monotonic()
            self._transport.resume_reading()

    # --- answers

    def start(self, status: int, headers: Headers, length: int | None, *, bodiless: bool = False) -> None:
        """Write the head of the current answer; without a length its body is chunked."""
        self._start(status, headers, length, bodiless=bodiless)
        self._gateway.loop.call_soon(self.write_head)

    def _start(self, status: int, headers: Headers, length: int | None, *, bodiless: bool = False) -> None:
        request = self._requests[0]
        # Without all of a request's body, what comes next would not be a request.
        self._close_after = self._close_after or not request.complete or self._gateway.draining or self._broken
        self.begin_answer(request, status, headers, length, bodiless=bodiless, closes=self._close_after)

    def finish(self, last: bytes = b"") -> None:
        """The current answer is whole with these bytes: on to the next request, or the end of the connection."""
        if not self._requests:
            return
        self.end_answer(last)
        request = self._requests.popleft()
        request.handler = None  # they hold each other, and would wait for the collector
        if self._close_after:
            self._close(linger=not request.complete)
        elif self._requests:
            self._gateway.loop.call_soon(self._next)
        else:
            self._last_read = time.monotonic()
            self._resume_reading()

    def _next(self) -> None:
        if self.output_paused:
            return  # resume_writing comes back here
        if self._requests and self._requests[0].handler is None and not self._transport.is_closing():
            self._begin(self._requests[0])
        if len(self._requests) <= 1:
            self._resume_reading()

    def _resume_reading(self) -> None:
        if self._read_held and not self._transport.is_closing():
            self._read_held = False
            self._transport.resume_reading()

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        self._start(status, headers, len(body))
        self.finish(body)

    def refuse(self, error: ApiError, headers: Headers = ()) -> None:
        """Answer the current request with an error, and with headers of its own where it got that far."""
        extra = [(name.encode(), value.encode()) for name, value in error.headers]
        self.respond(error.status, [(b"content-type", b"application/json"), *extra, *headers], error.body())

    def cut(self) -> None:
        """End an answer that can't be completed, so that the client sees it as cut short."""
        self._requests.clear()
        self._transport.abort()

    def _reject(self, error: ApiError) -> None:
        """Bytes that are no request: answer them where nothing else is being answered, then close."""
        self._broken, self._reader.head_since = True, None
        if self._requests and self.answering:
            self._close_after = True
            return
        request_id = self._requests[0].request_id if self._requests else new_request_id()
        handler = self._requests[0].handler if self._requests else None
        if handler is not None:
            self._requests.clear()
            handler.client_lost()
        self._transport.write(last_answer(error, request_id))
        self._close(linger=True)

    def _close(self, *, linger: bool) -> None:
        self._broken = True
        self._requests.clear()
        if not linger:
            self._transport.close()
            return
        # Closing with unread bytes in the socket would reset it, and the client would never see the answer.
        self._linger = Linger()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._read_held = True
        self._resume_reading()

    # --- the clock

    def drain(self) -> None:
        """The gateway stops: idle connections close, the others after their current answer."""
        if not self._requests and self._linger is None and self._reader.head_since is None:
            self._broken = True
            self._transport.close()
        else:
            self._close_after = True

    def expire(self, error: ApiError) -> None:
        """The gateway's time is up."""
        self._close_after = True
        if self._requests and self._requests[0].handler is not None:
            self._requests[0].handler.expire(error)
        else:
            self._transport.close()

    @property
    def busy(self) -> bool:
        """Whether a request is being read or answered."""
        return bool(self._requests) or self._reader.head_since is not None

    @property
    def unsent(self) -> bool:
        """Whether the client has yet to take bytes of an answer."""
        return self._transport.get_write_buffer_size() > 0

    def sweep(self, now: float) -> None:
        """Called every second: close what takes too long."""
        settings = self._gateway.settings
        lingered = self._linger is not None and now > self._linger.until
        waits_for_head = self._reader.head_since is not None and now - self._reader.head_since > settings.head_timeout_s
        reads_body = self._reader.in_body and not self._read_held and not self._broken
        waits_for_body = reads_body and now - self._last_read > settings.head_timeout_s
        if lingered or self._stall.lasts_s(self._transport.get_write_buffer_size(), now) > settings.stall_timeout_s:
            self._transport.abort()
        elif waits_for_head or waits_for_body:
            self._reject(errors.timed_out())
        elif not self.busy and now - self._last_read > settings.idle_timeout_s:
            self._transport.close()
        elif self._requests and self._requests[0].handler is not None:
            self._requests[0].handler.sweep(now)
