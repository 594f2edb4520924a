"""Turns a connection's bytes into requests: llhttp's callbacks, collected, with bounds on what a head may hold.

It decides nothing: the front hears of each head, piece of body and end, in the order of the wire.
"""

from __future__ import annotations

import time
from typing import Protocol

import httptools

from inference.gateway import errors, paths
from inference.gateway.request import Request

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100
MAX_TARGET_BYTES = 8 * 1024


class Sink(Protocol):
    """Who hears of requests."""

    def request_begun(self, request: Request) -> None:
        """A head is whole."""

    def request_body(self, body: bytes) -> None:
        """A piece of the last request's body."""

    def request_whole(self) -> None:
        """The last request is whole."""


class RequestReader:
    """One connection's parser. `head_since`: when an unfinished head began; `in_body`: a body is unfinished."""

    def __init__(self, sink: Sink, peer: str) -> None:
        self._sink = sink
        self._peer = peer
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._num_begun = 0  # heads begun by the current feed
        self._progress = False  # the current feed brought body or a whole head
        self._unproductive = 0  # bytes in a body that brought neither: trailers and chunk extensions
        self.head_since: float | None = None
        self.in_body = False

    def feed(self, data: bytes) -> bool:
        """Parse; False where HTTP ends here, because an upgrade was asked for.

        Raises: ApiError for what is no request.
        """
        began, idle = self.head_since, self.head_since is None and not self.in_body
        self._num_begun, self._progress = 0, False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return False
        except httptools.HttpParserError:
            raise errors.malformed("This is not a valid HTTP/1.1 request.") from None
        # Bytes of an earlier request in the same feed are none of an unfinished head's.
        whole_feed = self.head_since is began or (idle and self._num_begun == 1)
        if self.head_since is not None and whole_feed:
            self._head_bytes += len(data)
        self._unproductive = 0 if self._progress or not self.in_body else self._unproductive + len(data)
        self._check_sizes()
        return True

    def close(self) -> None:
        """Nothing more comes. Sink, reader and parser hold each other until then."""
        del self._sink, self._parser

    def _check_sizes(self) -> None:
        if self.head_since is not None and self._head_bytes > MAX_HEAD_BYTES:
            raise errors.head_too_large("header")
        if self._unproductive > MAX_HEAD_BYTES:
            raise errors.head_too_large("trailer")

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self._target, self._headers = b"", []
        self._head_bytes, self.head_since = 0, time.monotonic()
        self._num_begun += 1

    def on_url(self, url: bytes) -> None:
        """httptools: a piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: a header; trailers end here too and are dropped."""
        if not self.in_body and len(self._headers) <= MAX_HEADERS:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """httptools: the head is whole."""
        self.head_since, self.in_body, self._progress = None, True, True
        request = Request(
            method=self._parser.get_method(),
            raw_target=self._target,
            target=paths.classify(self._target),
            headers=self._headers,
            version=self._parser.get_http_version(),
            # What follows a wish to upgrade can't be told from the next request: such a connection ends.
            keep_alive=self._parser.should_keep_alive() and not self._parser.should_upgrade(),
            peer=self._peer,
        )
        self._sink.request_begun(request)

    def on_body(self, body: bytes) -> None:
        """httptools: a piece of a body."""
        self._progress = True
        self._sink.request_body(body)

    def on_message_complete(self) -> None:
        """httptools: a request is whole."""
        self.in_body = False
        self._sink.request_whole()


def check_head(request: Request) -> None:
    """Bounds and rules of a head that llhttp does not know.

    Raises: ApiError; the connection is not used again.
    """
    if (
        len(request.headers) > MAX_HEADERS
        or sum(len(name) + len(value) for name, value in request.headers) > MAX_HEAD_BYTES
    ):
        raise errors.head_too_large("header")
    if len(request.raw_target) > MAX_TARGET_BYTES:
        raise errors.address_too_long()
    if request.version == "1.1" and sum(name == b"host" for name, _ in request.headers) != 1:
        raise errors.malformed("A request has exactly one Host header.")
    expected = request.header(b"expect")
    if expected is not None and expected.lower() != b"100-continue":
        raise errors.expectation_failed()
