"""Two connections that are one: what one side reads is written to the other, at the pace of the slower, until either ends.

Bytes are not looked at. A side's end closes the other once what was read has been written.
"""

from __future__ import annotations

import asyncio
from typing import cast


class End(asyncio.Protocol):
    """One of the two connections. It reads nothing before it is joined."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._other: End | None = None
        self._early = b""  # read before it was joined: TLS hands on what it had decrypted when it was told to pause

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes for the other side."""
        if self._other is not None and self._other.transport is not None:
            self._other.transport.write(data)
        else:
            self._early += data

    def pause_writing(self) -> None:
        """asyncio: this side takes no more for now."""
        if self._other is not None:
            self._other.hold(True)

    def resume_writing(self) -> None:
        """asyncio: it takes more."""
        if self._other is not None:
            self._other.hold(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: gone, and the other side with it."""
        other, self._other = self._other, None
        if other is not None:
            other.close()

    def hold(self, still: bool) -> None:
        """Stop reading, or go on."""
        if self.transport is None or self.transport.is_closing():
            return
        if still:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def close(self) -> None:
        """End this side, after what was written to it."""
        self._other = None
        if self.transport is not None:
            self.transport.close()

    def join(self, other: End) -> None:
        """Become one with the other; from here on both read."""
        self._other, other._other = other, self
        for end in (self, other):
            if end.transport is None or end.transport.is_closing():
                self.close()
                other.close()
                return
        for end, peer in ((self, other), (other, self)):
            if end._early and peer.transport is not None:
                peer.transport.write(end._early)
            end._early = b""
            end.hold(False)
