"""An answer that is not streamed, as it comes: all of it up to a bound, and of a longer one only its usage."""

from __future__ import annotations

from typing import Any

from inference.gateway.usage import UsageSearch


class WholeAnswer:
    """Of one request."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._num_bytes = 0
        self._search: UsageSearch | None = None

    @property
    def given_up(self) -> bool:
        """Whether only the usage is looked for."""
        return self._search is not None

    def add(self, data: bytes, limit: int) -> bool:
        """Take the next piece; whether with it the answer has become too long."""
        if self._search is not None:
            self._search.feed(data)
            return False
        self._pieces.append(data)
        self._num_bytes += len(data)
        return self._num_bytes > limit

    def give_up(self) -> None:
        """Nobody gets it; from here on its usage is looked for, which stands at its end."""
        self._search = UsageSearch()
        for piece in self._pieces:
            self._search.feed(piece)
        self._pieces.clear()

    def reported(self) -> dict[str, Any] | None:
        """The usage of one that was given up, where it could be read."""
        return None if self._search is None else self._search.reported()

    def take(self) -> bytes:
        """All of it, which is held no longer."""
        pieces, self._pieces, self._num_bytes = self._pieces, [], 0
        return b"".join(pieces)
