"""The clients of the load: streams in lockstep with the engine, streams at a pace, and short whole answers.

Each holds one kept-alive connection and reads HTTP only as far as the measurement needs.
"""

from __future__ import annotations

import heapq
import json
import re
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.loop import Engine, EngineWire, Overrun

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """Where requests go: the engine's own socket, or a gateway before it."""

    address: Path | tuple[str, int]
    model: str
    key: str

    def connect(self) -> socket.socket:
        if isinstance(self.address, Path):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(self.address))
            return sock
        sock = socket.create_connection(self.address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def request(self, number: int, *, stream: bool) -> bytes:
        content = f"Write a function. stream={number}"
        body = json.dumps(
            {
                "model": self.model,
                "stream": stream,
                "max_tokens": 64,
                "messages": [{"role": "user", "content": content}],
            },
            separators=(",", ":"),
        ).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.key}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Tally:
    """What all clients of one window saw. Times are seconds; they are kept while `timing`."""

    timing: bool = False
    ending: bool = False
    num_asked: int = 0
    num_begun: int = 0
    num_ended: int = 0
    num_events: int = 0
    event_delays: list[float] = field(default_factory=list)
    first_event_delays: list[float] = field(default_factory=list)
    answer_delays: list[float] = field(default_factory=list)


class Client:
    """A connection with one request at a time."""

    stream = True

    def __init__(self, engine: Engine, target: Target, number: int, tally: Tally) -> None:
        self._engine, self._number, self._tally = engine, number, tally
        self._sock = target.connect()
        self._request = target.request(number, stream=self.stream)
        self._unread = b""
        self._asked_at = 0.0
        engine.loop.add(self._sock, self)

    def ask(self) -> None:
        self._tally.num_asked += 1
        self._unread = b""
        self._asked_at = time.perf_counter()
        self._sock.send(self._request)

    def ready(self) -> None:
        raise NotImplementedError

    def _read(self) -> bytes:
        data = self._sock.recv(65536)
        if not data:
            raise Overrun("a client's connection was closed in the middle of an answer")
        return self._unread + data

    def close(self) -> None:
        self._engine.loop.close(self._sock)


class Streaming(Client):
    """Reads a stream: its first event, the others, its end."""

    def __init__(self, engine: Engine, target: Target, number: int, tally: Tally) -> None:
        super().__init__(engine, target, number, tally)
        self._wire: EngineWire | None = None
        self._closing = False

    def ready(self) -> None:
        data = self._read()
        if self._closing:
            self._unread = data[-4:]
            if data.endswith(b"0\r\n\r\n"):
                self._tally.num_ended += 1
                self._wire, self._closing = None, False
                self.ended()
            return
        self._unread = data[-1:]
        count = data.count(b"\n\n")
        if count and self._wire is None:
            self._wire = self._engine.streams[self._number]
            self._tally.num_begun += 1
            self.begun()
        elif self._wire is None and not data.startswith(b"HTTP/1.1 200 "):
            raise Overrun(f"refused: {data[:300]!r}")
        if count:
            self._tally.num_events += count
            self.arrived(count)

    def begun(self) -> None:
        """The first event is here."""

    def arrived(self, count: int) -> None:
        """Events are here."""

    def ended(self) -> None:
        """The last byte is here."""

    def _end(self, wire: EngineWire) -> None:
        self._closing = True
        wire.end()


class Lockstep(Streaming):
    """A stream without a pace: its next event leaves the engine once the last one is here."""

    def arrived(self, count: int) -> None:
        assert self._wire is not None
        if self._tally.ending:
            self._end(self._wire)
        else:
            self._wire.event()


class Paced(Streaming):
    """A stream at a fixed pace, the way of each event timed; with `num_events` it asks anew after so many."""

    def __init__(
        self, engine: Engine, target: Target, number: int, tally: Tally, clock: Clock, num_events: int | None = None
    ) -> None:
        super().__init__(engine, target, number, tally)
        self._clock, self._num_events = clock, num_events
        self._sent: deque[float] = deque()

    def due(self) -> bool:
        """Do what is due; False where nothing more will be."""
        wire = self._wire
        if wire is None:
            self.ask()
            return False
        if self._tally.ending or wire.num_events == self._num_events:
            if self._sent:
                return True  # the last event is still on its way
            self._end(wire)
            return False
        self._sent.append(time.perf_counter())
        wire.event()
        return True

    def begun(self) -> None:
        assert self._wire is not None
        if self._tally.timing:
            self._tally.first_event_delays.append(time.perf_counter() - self._asked_at)
        self._sent.append(self._wire.sent_at)
        self._clock.wake(self)

    def arrived(self, count: int) -> None:
        now = time.perf_counter()
        for _ in range(count):
            sent_at = self._sent.popleft()
            if self._tally.timing:
                self._tally.event_delays.append(now - sent_at)

    def ended(self) -> None:
        if not self._tally.ending:
            self._clock.wake(self)


class Clock:
    """Wakes paced streams, each every period from a moment of its own on."""

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self._due: list[tuple[float, int, Paced]] = []
        self._num = 0

    def wake(self, client: Paced, after_s: float | None = None) -> None:
        self._push(time.perf_counter() + (self.period_s if after_s is None else after_s), client)

    def _push(self, at: float, client: Paced) -> None:
        self._num += 1
        heapq.heappush(self._due, (at, self._num, client))

    def tick(self) -> float:
        while self._due and self._due[0][0] <= time.perf_counter():
            at, _, client = heapq.heappop(self._due)
            if client.due():
                self._push(at + self.period_s, client)
        return self._due[0][0] - time.perf_counter() if self._due else 1.0


class Unary(Client):
    """Whole answers, one after the other."""

    stream = False

    def ready(self) -> None:
        data = self._read()
        head, found, body = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or length is None or len(body) < int(length[1]):
            self._unread = data
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Overrun(f"refused: {data[:300]!r}")
        self._tally.num_ended += 1
        if self._tally.timing:
            self._tally.answer_delays.append(time.perf_counter() - self._asked_at)
        if not self._tally.ending:
            self.ask()
