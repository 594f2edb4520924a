"""What ends a client's connection by the clock: an upload that was refused, and a client that takes nothing more."""

from __future__ import annotations

import time

LINGER_S = 3.0
LINGER_BYTES = 64 * 1024 * 1024


class Linger:
    """A refused upload is read and thrown away for a while, so that the client gets to see the refusal."""

    def __init__(self) -> None:
        self.until = time.monotonic() + LINGER_S
        self._num_bytes = 0

    def takes(self, data: bytes) -> bool:
        """Throw a read away; False where it was too much altogether."""
        self._num_bytes += len(data)
        return self._num_bytes <= LINGER_BYTES


class Stall:
    """How long nothing of what waits to be sent was taken."""

    def __init__(self, now: float) -> None:
        self._size, self._since = 0, now

    def lasts_s(self, size: int, now: float) -> float:
        """Seconds, with so many bytes waiting now; asked again and again."""
        if size == 0 or size < self._size or not self._size:
            self._since = now
        self._size = size
        return now - self._since if size else 0.0
