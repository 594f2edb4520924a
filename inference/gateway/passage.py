"""The short way of a stream: a read that is whole chunks, each with one whole event, goes to the client as it came.

The parser knows where chunks end; between two of them its state is the same whether it is told of a whole chunk or not.
So a read of which the first and the last bytes say that it is exactly that is passed on unparsed, with its framing. All
else (several events in a chunk, pieces, what has to be read or changed, another engine's spelling) goes the long way, through
the parser and `sse`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from inference.gateway.open_requests import OpenSlot
from inference.gateway.sse import USAGE, EventStream

if TYPE_CHECKING:
    from inference.gateway.engine import EngineConnection

# How every ordinary event of vLLM begins: neither an error nor the end of a stream does.
_BEGINS = b'data: {"id":"'
_END = b"\n\n\r\n"


def _beginning(num_bytes: int) -> tuple[slice, bytes]:
    """Where a whole chunk of so many bytes, framing included, begins, and how; for no such chunk what nothing equals."""
    for num_digits in (2, 3):
        size = num_bytes - num_digits - 4
        if size > 0 and len(b"%x" % size) == num_digits:
            begins = b"%x\r\n" % size + _BEGINS
            return slice(0, len(begins)), begins
    return _NONE


_NONE = slice(0, 0), b"no chunk has this length"
_NUM_BEGINNINGS = 0x1000 + 7
_BEGINNINGS = tuple(_beginning(num_bytes) for num_bytes in range(_NUM_BEGINNINGS))
_LAST = slice(-4, None)
_WITHIN = slice(5, -4)  # between the size line and the end: the event's only line
_NEWLINE = 10


def _num_chunks(data: bytes) -> int:
    """Of how many whole chunks with one event each a read consists; 0 where it is anything else."""
    at = num = 0
    while at < len(data):
        begins = data.find(b"\r\n", at, at + 5) + 2
        if begins < 2 or not data.startswith(_BEGINS, begins):
            return 0
        line = data.find(b"\n", begins)
        end = line + 4
        # The size line has one spelling only; what it says and where the event ends agree, or the parser looks.
        if line < 0 or data[line:end] != _END or data[at:begins] != b"%x\r\n" % (line + 2 - begins):
            return 0
        at, num = end, num + 1
    return num


class Passage:
    """Of one stream of one sequence: what the engine's transport calls for each read, in place of the connection.

    `write` is the client's transport's own. Whoever ends the request ends this first: the word that it counts in is
    another request's later on.
    """

    # What an event touches lies together: with hundreds of streams each object of its own is a miss of the cache.
    __slots__ = ("_at", "_connection", "_events", "_words", "_write")

    def __init__(
        self, connection: EngineConnection, events: EventStream, slot: OpenSlot, write: Callable[[bytes], None]
    ) -> None:
        self._connection = connection
        self._events = events
        self._words, self._at = slot.counter()
        self._write = write

    def data_received(self, data: bytes) -> None:
        """A read that begins between two chunks: passed on, or left to the connection."""
        # Slices, one byte, and a search from the end: searching for two bytes from the front costs ten times as much.
        num_bytes = len(data)
        first, begins = _BEGINNINGS[num_bytes] if num_bytes < _NUM_BEGINNINGS else _NONE
        num = 1
        if data[first] != begins:
            num = _num_chunks(data)
        elif data[_LAST] != _END or _NEWLINE in data[_WITHIN]:
            num = 0
        if not num or data.rfind(USAGE) >= 0:
            self._connection.data_received(data)
            return
        events = self._events
        self._words[self._at] = events.num_events = events.num_events + num
        self._write(data)

    def eof_received(self) -> None:
        """asyncio: the connection's matter, as all that follows."""

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: gone."""
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """asyncio: a request is written by now."""

    def resume_writing(self) -> None:
        """asyncio: the same."""
