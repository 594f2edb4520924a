"""One worker's open requests in mapped memory, so that what a SIGKILL interrupts can still be billed and given back.

A request has a slot from before its reservation until the journal has its line and Redis knows what it used. The
pages belong to a file: they outlive the process. The layout is `open_table`'s, settling a dead worker's is the meter's.
"""

from __future__ import annotations

import logging
import mmap
import os
import time
from pathlib import Path

from inference.gateway import open_table as table
from inference.gateway.open_table import SLOT_BYTES, SLOTS, WORDS, OpenRequest, State
from inference.pool.process import read_stat

log = logging.getLogger(__name__)
_NOWHERE = memoryview(bytearray(SLOT_BYTES)).cast("Q")
GROW_AT = 64  # free slots that are left when another file is made, so that a request need not wait for it


class _Area:
    """One mapped file."""

    def __init__(self, path: Path) -> None:
        size = SLOT_BYTES * SLOTS
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)  # a hole that can't be filled later would be a SIGBUS
            self.bytes = mmap.mmap(fd, size)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(fd)
        self.path = path
        self.words = memoryview(self.bytes).cast("Q")


class OpenSlot:
    """One request's place, and none for another one: once freed, what it is told goes nowhere.

    `count` is all that the hot path does with it.
    """

    __slots__ = ("_area", "_at", "_booked", "_number", "_owner", "_told", "_words", "request_id")

    def __init__(self, owner: OpenRequests, area: _Area, number: int, request_id: str) -> None:
        """Limits are about to be reserved for a request."""
        self.request_id = request_id
        self._owner, self._area, self._number = owner, area, number
        self._words, self._at = area.words, number * WORDS
        self._booked = self._told = False
        text = request_id.encode()
        words, at = self._words, self._at
        words[at + table.TOKENS] = words[at + table.SPEND] = 0
        self._write(table.ID_AT, text, table.ID_BYTES)
        words[at + table.ID_SUM] = table.checked(text)
        words[at + table.STATE] = State.HELD

    def open(self, request: OpenRequest) -> None:
        """The request goes to an engine. Raises: ValueError when it is too long for a slot."""
        text = table.encode(request)
        words, at = self._words, self._at
        words[at + table.STATE] = State.HELD  # what an earlier attempt left is not to be read with this one's counts
        words[at + table.EVENTS] = words[at + table.TTFT] = 0
        self._write(table.REQUEST_AT, text, table.REQUEST_BYTES)
        words[at + table.REQUEST_SUM] = table.checked(text)
        words[at + table.STATE] = State.OPEN

    def count(self, events: int) -> None:
        """So many events of its stream have come."""
        self._words[self._at + table.EVENTS] = events

    def counter(self) -> tuple[memoryview, int]:
        """Where `count` writes to, for whoever counts each event and stops before the request ends."""
        return self._words, self._at + table.EVENTS

    def first(self, ttft_ms: int) -> None:
        """The first one came."""
        self._words[self._at + table.TTFT] = ttft_ms + 1

    def withdraw(self) -> None:
        """No engine has it any more, and nothing is to be billed of it so far."""
        self._words[self._at + table.STATE] = State.HELD

    def end(self, tokens: int, spend_micros: int, *, booked: bool) -> None:
        """It used this much. Not booked: its line waits for the disk, and the slot stays open until it is written."""
        words, at = self._words, self._at
        words[at + table.TOKENS], words[at + table.SPEND] = tokens, spend_micros
        if booked:
            self.book()
        else:
            self._owner.wait_for_journal(self)

    def book(self) -> None:
        """The journal has its line."""
        self._booked = True
        self._words[self._at + table.STATE] = State.BOOKED
        if self._told:
            self.free()

    def tell(self) -> None:
        """Redis knows of its end."""
        self._told = True
        if self._booked:
            self.free()

    def free(self) -> None:
        """Nothing of it is open."""
        if self._words is _NOWHERE:
            return
        self._words[self._at + table.STATE] = State.FREE
        self._words, self._at = _NOWHERE, 0
        self._owner.take_back(self.request_id, self._area, self._number)

    def _write(self, offset: int, text: bytes, room: int) -> None:
        if len(text) > room:
            raise ValueError(f"{len(text)} bytes of an open request don't fit into {room}")
        start = self._number * SLOT_BYTES + offset
        self._area.bytes[start : start + len(text)] = text


class OpenRequests:
    """All of a worker's slots; made after the fork."""

    def __init__(self, directory: Path) -> None:
        stat = read_stat(os.getpid())
        assert stat is not None  # noqa: S101 - this process runs
        self._directory = directory
        self._started = stat.started
        self._areas: list[_Area] = []
        self._free: list[tuple[_Area, int]] = []
        self._used: dict[str, OpenSlot] = {}
        self._unwritten: list[OpenSlot] = []
        self.has_room()

    def has_room(self) -> bool:
        """Whether another request can be held; makes room ahead of the need."""
        if len(self._free) < GROW_AT:
            try:
                self._grow()
            except OSError as error:
                log.error("no room for open requests: %s", error)
        return bool(self._free)

    def hold(self, request_id: str) -> OpenSlot:
        """A slot for a request whose limits are about to be reserved.

        Raises: OSError when there is none and the disk has no room for more.
        """
        if not self._free:
            self._grow()
        slot = self._used[request_id] = OpenSlot(self, *self._free.pop(), request_id)
        return slot

    def tell(self, request_id: str) -> None:
        """Redis knows of a request's end; of one that still runs (a late reservation undone) nothing changes."""
        slot = self._used.get(request_id)
        if slot is not None:
            slot.tell()

    def wait_for_journal(self, slot: OpenSlot) -> None:
        """Its line is in memory only."""
        self._unwritten.append(slot)

    def take_back(self, request_id: str, area: _Area, number: int) -> None:
        """A slot is free again."""
        del self._used[request_id]
        self._free.append((area, number))

    def beat(self, *, journal_healthy: bool) -> None:
        """Called every second: this process lives; lines that waited for the disk may be written by now."""
        for area in self._areas:
            area.words[table.BEAT] = int(time.time() * 1000)
        if journal_healthy:
            waited, self._unwritten = self._unwritten, []
            for slot in waited:
                slot.book()

    def close(self) -> None:
        """This worker ends. What is still open stays for the meter."""
        if not self._used:
            for area in self._areas:
                area.path.unlink(missing_ok=True)

    def _grow(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        area = _Area(self._directory / table.name_of(len(self._areas), self._started))
        self._areas.append(area)
        area.words[table.BEAT] = int(time.time() * 1000)
        self._free[:0] = [(area, number) for number in range(SLOTS - 1, 0, -1)]
