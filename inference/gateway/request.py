"""One request as the front parsed it, and how bytes of an answer's head are written. No decisions here."""

from __future__ import annotations

import functools
import os
import secrets
import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

import msgspec

from inference.gateway.errors import ApiError
from inference.gateway.paths import Target

Headers = Iterable[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
        b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings",
    }
)  # fmt: skip

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b" % (status, status.phrase.encode()) for status in HTTPStatus}


class Handler(Protocol):
    """Who answers one request. The front calls these in order; after the answer is finished it calls nothing more."""

    def body(self, chunk: bytes) -> None:
        """A piece of the request's body."""

    def body_end(self) -> None:
        """The request is whole."""

    def client_lost(self) -> None:
        """The client left before the answer was finished."""

    def pause_output(self) -> None:
        """Stop producing: the client does not keep up."""

    def resume_output(self) -> None:
        """Produce again."""

    def expire(self, error: ApiError) -> None:
        """End now, telling the client why."""

    def sweep(self, now: float) -> None:
        """Called every second."""


IDS_AT_ONCE = 256
_ids: list[str] = []  # drawn ahead: the kernel is asked once for many
os.register_at_fork(after_in_child=_ids.clear)


def new_request_id() -> str:
    """The id of one request, unknown to everybody else."""
    try:
        return _ids.pop()
    except IndexError:
        drawn = secrets.token_hex(16 * (IDS_AT_ONCE + 1))
        ids = [f"req-{drawn[at : at + 32]}" for at in range(0, len(drawn), 32)]
        _ids.extend(ids[1:])
        return ids[0]


class Request(msgspec.Struct, weakref=True):
    """Head of a request; header names are in lower case."""

    method: bytes
    raw_target: bytes
    target: Target
    headers: list[tuple[bytes, bytes]]
    version: str
    keep_alive: bool
    peer: str
    request_id: str = msgspec.field(default_factory=new_request_id)
    complete: bool = False
    waiting_body: list[bytes] = msgspec.field(default_factory=list)
    handler: Handler | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def content_length(self) -> int | None:
        """The declared size of the body; the parser has checked it."""
        value = self.header(b"content-length")
        return int(value) if value is not None and value.isdigit() else None


def end_to_end(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Headers without those that speak of one connection, the ones that Connection names included."""
    listed = list(headers)
    named = {
        token.strip().lower() for name, value in listed if name == b"connection" for token in value.split(b",") if token
    }
    return [(name, value) for name, value in listed if name not in HOP_BY_HOP and name not in named]


def head(status: int, headers: Headers) -> bytes:
    """Status line and headers of an answer."""
    lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown" % status]
    lines += [b"%b: %b" % header for header in headers]
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def date() -> bytes:
    """The Date header's value."""
    return _date_of(int(time.time()))


@functools.lru_cache(maxsize=2)
def _date_of(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
