"""The clients of the load: streams in lockstep with the engine, streams at a pace, and short whole answers.

Each holds one kept-alive connection and reads HTTP only as far as the measurement needs.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.loop import Engine, Overrun

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
            {"model": self.model, "stream": stream, "max_tokens": 64, "messages": [{"role": "user", "content": content}]},
            separators=(",", ":"),
        ).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.key}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Tally:
    """What all clients of one window saw. Times are seconds."""

    num_requests: int = 0
    num_begun: int = 0  # streams that have their first event
    num_ended: int = 0
    num_events: int = 0
    event_delays: list[float] = field(default_factory=list)
    first_event_delays: list[float] = field(default_factory=list)


class Client:
    """A connection and its request."""

    stream = True

    def __init__(self, engine: Engine, target: Target, number: int, tally: Tally) -> None:
        self._engine, self._number, self._tally = engine, number, tally
        self._sock = target.connect()
        self._request = target.request(number, stream=self.stream)
        self._tail = b""
        self._asked_at = 0.0
        engine.loop.add(self._sock, self)

    def ask(self) -> None:
        self._tally.num_requests += 1
        self._tail = b""
        self._asked_at = time.perf_counter()
        self._sock.send(self._request)

    def ready(self) -> None:
        raise NotImplementedError

    def _read(self) -> bytes:
        data = self._sock.recv(65536)
        if not data:
            raise Overrun("a client's connection was closed in the middle of an answer")
        return data

    def close(self) -> None:
        self._engine.loop.close(self._sock)


class Lockstep(Client):
    """A stream whose next event leaves the engine once the last one is here."""

    ending = False
    _begun = False

    def ready(self) -> None:
        data = self._tail + self._read()
        count = data.count(b"\n\n")
        if self.ending or not self._begun:
            self._rarely(data, count)
        else:
            self._tail = data[-1:]
        if count:
            self._arrived(count)

    def _rarely(self, data: bytes, count: int) -> None:
        """The stream's first and last bytes."""
        if not self._begun:
            if b"HTTP/1.1 " in data and b"HTTP/1.1 200 " not in data:
                raise Overrun(f"refused: {data[:300]!r}")
            self._begun = count > 0
            self._tally.num_begun += self._begun
        if self.ending and data.endswith(b"0\r\n\r\n"):
            self._tally.num_ended += 1
        self._tail = data[-1:]

    def _arrived(self, count: int) -> None:
        self._tally.num_events += count
        wire = self._engine.streams[self._number]
        if not self.ending:
            wire.event()
        elif not wire.ended:
            wire.end()


class Paced(Lockstep):
    """A stream at a fixed pace, each event's way timed; with `num_events` it asks again once it has so many."""

    def __init__(self, engine: Engine, target: Target, number: int, tally: Tally) -> None:
        super().__init__(engine, target, number, tally)
        self._sent: deque[float] = deque()
