"""The benchmark's own event loop and its engine: bare sockets on epoll, in one process with the load generator.

asyncio would cost here about what it costs the gateway, and the benchmark would measure itself. One process for engine and
clients gives both one clock, and lets a stream's next event wait for the client to have the last one, so that the gateway
reads every event by itself. `tests.fakes.engine` is the faithful fake; this one only knows good answers.
"""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

EVENT_BYTES = 240
PROMPT_TOKENS = 7

_NUMBER = re.compile(rb"stream=(\d+)")
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_CHUNK = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


class Overrun(Exception):
    """Somebody does not keep pace or answers wrongly, so that a figure would mean nothing."""


class Wire(Protocol):
    """One socket's reader."""

    def ready(self) -> None:
        """There is something to read."""


class Loop:
    """Waits for sockets and for times."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._wires: dict[int, Wire] = {}

    def add(self, sock: socket.socket, wire: Wire) -> None:
        sock.setblocking(False)
        self._wires[sock.fileno()] = wire
        self._epoll.register(sock, select.EPOLLIN)

    def close(self, sock: socket.socket) -> None:
        self._wires.pop(sock.fileno(), None)
        sock.close()

    def run(self, over: Callable[[], bool], limit_s: float, tick: Callable[[], float] | None = None) -> None:
        """Serve until it is over; `tick` does what is due and returns the seconds until it wants to be called again.

        Raises: Overrun after `limit_s`.
        """
        deadline = time.monotonic() + limit_s
        wires, poll = self._wires, self._epoll.poll
        while not over():
            if time.monotonic() > deadline:
                raise Overrun(f"not over after {limit_s:.0f} s: an answer is missing")
            for fd, _ in poll(0.05 if tick is None else min(max(tick(), 0), 0.05)):
                if wire := wires.get(fd):
                    wire.ready()


class Engine:
    """Listens like an engine. A stream's first event comes with its head, every further one when the load asks for it."""

    def __init__(self, loop: Loop, path: Path) -> None:
        self.loop = loop
        self.streams: dict[int, EngineWire] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1024)
        loop.add(self._listener, self)

    def ready(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            self.loop.add(sock, EngineWire(self, sock))

    def close(self) -> None:
        self.loop.close(self._listener)


class EngineWire:
    """One connection of the engine."""

    def __init__(self, engine: Engine, sock: socket.socket) -> None:
        self._engine, self._sock = engine, sock
        self._received = b""
        self._wants_usage = False
        self.num_events = 0
        self.sent_at = 0.0

    def ready(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            self._engine.loop.close(self._sock)
            return
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if found and len(body) >= (int(length[1]) if length else 0):
            self._received = b""
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        number = _NUMBER.search(body)
        if number is None:
            self._sock.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        elif b'"stream":true' in body:
            self._engine.streams[int(number[1])] = self
            self._wants_usage = b'"include_usage":true' in body
            self.num_events, self.sent_at = 1, time.perf_counter()
            self._send(_STREAM_HEAD + EVENT)
        else:
            self._send(UNARY)

    def event(self) -> None:
        """Send the stream's next event."""
        self.num_events += 1
        self._send(EVENT)

    def end(self) -> None:
        """End the stream as vLLM does."""
        usage = framed({**_CHUNK, "choices": [], "usage": usage_of(self.num_events)}) if self._wants_usage else b""
        self._send(usage + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent != len(data):
            raise Overrun("the other side of the engine's socket does not keep pace")


def usage_of(num_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS, "completion_tokens": num_tokens, "total_tokens": PROMPT_TOKENS + num_tokens,
    }  # fmt: skip


def framed(content: dict[str, object]) -> bytes:
    data = b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event() -> bytes:
    def sized(num_letters: int) -> bytes:
        delta = {"content": "x" * num_letters}
        return framed({**_CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})

    framing = len(b"f0\r\n\r\n")
    return sized(EVENT_BYTES - (len(sized(0)) - framing))


def _unary() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x" * 100}, "finish_reason": "length"}
    content = {**_CHUNK, "object": "chat.completion", "choices": [choice], "usage": usage_of(5)}
    body = json.dumps(content).encode()
    head = b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: application/json\r\n"
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


EVENT = _event()
UNARY = _unary()
