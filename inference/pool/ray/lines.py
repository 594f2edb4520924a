"""The conversation of tether and node beside the requests: one JSON object a line, each way, and a line every second.

Who hears nothing for a while takes the other for gone: a machine that lost its power closes no connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec

BEAT_S = 1.0
MAX_LINE_BYTES = 16 * 1024 * 1024  # thousands of adapters

Heard = Callable[[dict[str, Any]], None]


class Lines(asyncio.Protocol):
    """One side. `heard` gets each object, `lost` is called once at the end with why; `first` goes ahead of all lines."""

    def __init__(self, heard: Heard, lost: Callable[[str], None], silent_s: float, first: bytes = b"") -> None:
        self._first = first
        self._heard = heard
        self._lost: Callable[[str], None] | None = lost
        self._silent_s = silent_s
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._last = time.monotonic()
        self._beat: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._first)
        self._tick()

    def say(self, what: dict[str, Any]) -> None:
        """Send one object."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(msgspec.json.encode(what) + b"\n")

    @property
    def behind_bytes(self) -> int:
        """What was said and is not yet under way."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        """End the conversation, after what was said."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """asyncio: some bytes of lines."""
        self._last = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self._end("it says things that nobody understands")
            return
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                what = msgspec.json.decode(line, type=dict[str, Any])
                if what:
                    self._heard(what)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: gone."""
        self._end("the connection to it broke off" + (f": {exc}" if exc else ""))

    def _tick(self) -> None:
        silent_s = time.monotonic() - self._last
        if silent_s > self._silent_s:
            self._end(f"it said nothing for {silent_s:.0f} s")
            return
        self.say({})
        self._beat = asyncio.get_running_loop().call_later(BEAT_S, self._tick)

    def _end(self, why: str) -> None:
        if self._beat is not None:
            self._beat.cancel()
        lost, self._lost = self._lost, None
        if self._transport is not None:
            self._transport.abort()
        if lost is not None:
            lost(why)
