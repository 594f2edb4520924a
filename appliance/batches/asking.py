"""Asks the lines of one batch at the pace that the appliance allows, until all are done or the batch has to end."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from appliance.batches import metrics
from appliance.batches.answers import MOST_LOSSES, MOST_TRIES, Answer, Result, Verdict, answered, failed, judge, wait_s
from appliance.batches.client import Gateway, Lost, NotSent
from appliance.batches.gate import Gate
from appliance.batches.keeper import Keeper
from appliance.batches.lines import Line, read

READ_AT_ONCE = 4
MOST_HELD = 64  # lines that are begun and not done: those at the gateway, and those that wait to be asked again
MOST_HELD_BYTES = 32 << 20  # of their bodies
LOOK_S = 0.5
UNREADABLE = "Line {number} of the input file can't be read."
NO_GATEWAY = "Waiting: the gateway does not answer."
BUSY = "Waiting: the appliance or a limit of the tenant takes no more at the moment ({status})."


@dataclass
class Tries:
    """How often a line was tried without an answer that counts."""

    faults: int = 0
    losses: int = 0
    waits: int = 0


@dataclass
class Asking:
    """One batch's lines on their way. `key` gives the present key and is told of one that was refused."""

    endpoint: str
    gateway: Gateway
    gate: Gate
    keeper: Keeper
    key: Callable[[], str]
    key_refused: Callable[[str], Awaitable[None]]
    note: str = ""
    _halt: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _at_gate: set[int] = field(default_factory=set)
    _held_bytes: int = 0

    def halt(self) -> None:
        """Begin nothing more; what is at the gateway goes on."""
        self._halt.set()
        self.gate.wake()

    async def run(self, lines: Iterator[tuple[int, bytes]], grace_s: Callable[[], float]) -> None:
        """Ask every line that is not done; once halted, wait for what runs, but no longer than the grace.

        Raises: what a line's task raised.
        """
        async with asyncio.TaskGroup() as group:
            await self._feed(lines, group)
            while self._tasks and not self._is_halted():
                await self._some_end(LOOK_S)
            until = time.monotonic() + grace_s()
            while self._tasks and (left := until - time.monotonic()) > 0:
                await self._some_end(min(left, LOOK_S))
                grace = grace_s()  # endless from the moment that answers find no room on the disk
                until = grace if math.isinf(grace) else min(until, time.monotonic() + grace)
            for task in self._tasks:
                task.cancel()

    async def _some_end(self, timeout_s: float) -> None:
        await asyncio.wait(self._tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    async def _feed(self, lines: Iterator[tuple[int, bytes]], group: asyncio.TaskGroup) -> None:
        while found := await asyncio.to_thread(_some, lines):
            for number, line in found:
                if number in self.keeper.done.lines:
                    continue
                if line is None:
                    await self.keeper.keep(failed(number, "", "unreadable_line", UNREADABLE.format(number=number)))
                    continue
                while self._is_full() and not self._is_halted():
                    await self._some_end(LOOK_S)
                if not await self.gate.enter(self._is_halted):
                    return
                self._begin(number, line, group)

    def _is_full(self) -> bool:
        """Whether as many lines are in memory as may be; one is never too many."""
        return len(self._tasks) >= MOST_HELD or (bool(self._tasks) and self._held_bytes >= MOST_HELD_BYTES)

    def _begin(self, number: int, line: Line, group: asyncio.TaskGroup) -> None:
        size = memoryview(line.body).nbytes

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._held_bytes -= size
            self._leave(number)  # one that was cancelled before its first step

        self._at_gate.add(number)
        self._held_bytes += size
        task = group.create_task(self._line(number, line))
        self._tasks.add(task)
        task.add_done_callback(ended)

    def _leave(self, number: int) -> None:
        if number in self._at_gate:
            self._at_gate.remove(number)
            self.gate.leave()

    def _is_halted(self) -> bool:
        return self._halt.is_set()

    async def _line(self, number: int, line: Line) -> None:
        """One line until it is on the disk. It enters with a place at the gate, and keeps it until then."""
        tries = Tries()
        while True:
            try:
                result, pause_s = await self._try(number, line, tries)
                if result is not None:
                    await self.keeper.keep(result)
                    return
            finally:
                self._leave(number)
            if pause_s:
                await self._sleep(pause_s)
            if not await self.gate.enter(self._is_halted, again=True):
                return
            self._at_gate.add(number)

    async def _try(self, number: int, line: Line, tries: Tries) -> tuple[Result | None, float]:
        """Ask once: the line's result, or how long to wait before it is asked again."""
        sent_at, key = time.monotonic(), self.key()
        try:
            with metrics.IN_FLIGHT.track_inprogress():
                answer = await self.gateway.ask(self.endpoint, bytes(line.body), key)
        except NotSent:
            return None, self._later("unreachable", NO_GATEWAY, sent_at, wait_s(None, tries.waits), tries)
        except Lost as error:
            tries.losses += 1
            if tries.losses >= MOST_LOSSES:
                return failed(number, line.custom_id, "connection_lost", f"No whole answer came: {error}"), 0.0
            return None, self._later("lost", NO_GATEWAY, sent_at, wait_s(None, tries.losses), tries)
        return await self._judged(number, line, answer, sent_at, key, tries)

    async def _judged(
        self, number: int, line: Line, answer: Answer, sent_at: float, key: str, tries: Tries
    ) -> tuple[Result | None, float]:
        verdict = judge(answer)
        if verdict is Verdict.BUSY:
            pause_s = wait_s(answer, min(tries.waits, 5))
            return None, self._later("busy", BUSY.format(status=answer.status), sent_at, pause_s, tries)
        if verdict is Verdict.KEY:
            metrics.AGAIN.labels("key").inc()
            await self.key_refused(key)
            return None, 0.0
        if verdict is Verdict.FAULT and tries.faults + 1 < MOST_TRIES:
            tries.faults += 1
            metrics.AGAIN.labels("fault").inc()
            return None, wait_s(answer, tries.faults)
        self.note = ""
        if verdict is Verdict.KEEP:
            self.gate.pace.answered()
        return answered(number, line.custom_id, answer), 0.0

    def _later(self, reason: str, note: str, sent_at: float, pause_s: float, tries: Tries) -> float:
        """Slow everybody of this gate down, who wait there: the line itself needs no pause of its own."""
        metrics.AGAIN.labels(reason).inc()
        tries.waits = min(tries.waits + 1, 5)
        self.note = note
        self.gate.pace.refused(sent_at, time.monotonic(), pause_s)
        return 0.0

    async def _sleep(self, pause_s: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._halt.wait(), pause_s)


def _some(lines: Iterator[tuple[int, bytes]]) -> list[tuple[int, Line | None]]:
    """The next lines; None for one that can't be read any more, though it was found to be whole."""
    return [(number, _read(raw)) for number, raw in islice(lines, READ_AT_ONCE)]


def _read(raw: bytes) -> Line | None:
    try:
        return read(raw)
    except msgspec.MsgspecError:
        return None
