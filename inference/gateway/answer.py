"""The bytes of answers on one connection, one after the other: head, framing of the body, end.

What an answer says, and whether the connection lives on after it, are the front's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from inference.gateway.errors import ApiError
from inference.gateway.request import Headers, Request, date, head


class AnswerWriter:
    """Writes to `_transport`, which is set once there is a connection. `answering`: the current answer has begun."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._head = b""  # of the current answer, not written yet
        self._chunked = False
        self._bodiless = False
        self.answering = False

    def begin_answer(
        self, request: Request, status: int, headers: Headers, length: int | None, *, bodiless: bool, closes: bool
    ) -> None:
        """Make the head of the answer to a request. It leaves with what is written in the same turn: one call of the kernel
        less, and one waking of the client; `write_head` is to be called at the turn's end."""
        self.answering = True
        self._bodiless = bodiless or request.method == b"HEAD" or status in (204, 304)
        self._chunked = length is None and not self._bodiless and request.version != "1.0"
        framing = [(b"date", date()), (b"x-request-id", request.request_id.encode())]
        if length is not None:
            framing.append((b"content-length", b"%d" % length))
        elif self._chunked:
            framing.append((b"transfer-encoding", b"chunked"))
        if closes:
            framing.append((b"connection", b"close"))
        self._head = head(status, [*headers, *framing])

    def write_head(self) -> None:
        """Write the head, where nothing took it along."""
        if self._head:
            unsent, self._head = self._head, b""
            self._transport.write(unsent)

    def write(self, data: bytes) -> None:
        """A piece of the current answer's body."""
        if self._bodiless or not data:
            return
        unsent, self._head = self._head, b""
        if self._chunked:
            self._transport.write(b"%b%x\r\n%b\r\n" % (unsent, len(data), data))
        else:
            self._transport.write(unsent + data if unsent else data)

    def chunk_writer(self) -> Callable[[bytes], None] | None:
        """What takes whole chunks of the current answer, framing and all; None where it is not chunked or not begun."""
        return self._transport.write if self.answering and self._chunked and not self._head else None

    def end_answer(self, last: bytes) -> None:
        """The rest of the head and the body, and the body's end, in one piece."""
        unsent, self._head = self._head, b""
        if self._chunked and not self._bodiless:
            unsent += b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if last else b"0\r\n\r\n"
        elif not self._bodiless:
            unsent += last
        if unsent:
            self._transport.write(unsent)
        self.answering = False


def last_answer(error: ApiError, request_id: str) -> bytes:
    """The whole answer to what is no request; the connection closes after it."""
    body = error.body()
    return (
        head(
            error.status,
            [
                (b"content-type", b"application/json"),
                *((name.encode(), value.encode()) for name, value in error.headers),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
                (b"date", date()),
                (b"x-request-id", request_id.encode()),
            ],
        )
        + body
    )
