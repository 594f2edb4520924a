"""Streams of a real engine's answers, read as cheaply as Python can: bytes are counted, one event of each stream is parsed."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any, cast

import httptools

CHAT = "/v1/chat/completions"
TOPICS = ("a compiler", "a lighthouse", "two clocks", "a market", "the sea", "a printer", "old maps", "a garden")


@dataclass(frozen=True)
class Door:
    """Where requests go: a Unix socket of an engine, or a gateway's port with a key."""

    name: str
    socket: str | None = None
    port: int | None = None
    key: str = ""

    async def connect(self, make: Any) -> Any:
        loop = asyncio.get_running_loop()
        if self.socket is not None:
            return (await loop.create_unix_connection(make, self.socket))[1]
        return (await loop.create_connection(make, "127.0.0.1", self.port))[1]


@dataclass
class Stream(asyncio.Protocol):
    """One request on a connection of its own, and when its events came."""

    request: bytes
    sent_at: float = 0.0
    first_at: float = 0.0
    last_at: float = 0.0
    tokens: int = 0
    status: int = 0
    tail: bytes = b""
    over: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport = cast(asyncio.Transport, transport)
        self.sent_at = time.monotonic()
        self._transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.tail = (self.tail + body)[-4096:]
        if b'"content":"' in body and b'"content":""' not in body:
            self.last_at = time.monotonic()
            self.first_at = self.first_at or self.last_at

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def read_tokens(self) -> None:
        """The engine's own count, in the last event.

        Raises: RuntimeError where the stream was refused or broke off.
        """
        events = [line[6:] for line in self.tail.split(b"\n") if line.startswith(b"data: {")]
        usage = json.loads(events[-1]).get("usage") if events else None
        if self.status != 200 or not usage or b"data: [DONE]" not in self.tail:
            raise RuntimeError(f"a stream ended with status {self.status}: {self.tail[-300:]!r}")
        self.tokens = int(usage["completion_tokens"])

    @property
    def ttft_s(self) -> float:
        return self.first_at - self.sent_at

    @property
    def tpot_s(self) -> float:
        return (self.last_at - self.first_at) / max(1, self.tokens - 1)


def chat(model: str, words: str, max_tokens: int, **more: Any) -> dict[str, Any]:
    """A chat request whose answer has exactly so many tokens; `words` make its prompt one that no other has."""
    topic = TOPICS[sum(words.encode()) % len(TOPICS)]
    asked = f"{words}: tell a long story about {topic}, with all that happened before and after."
    return {
        "model": model, "messages": [{"role": "user", "content": asked}], "max_tokens": max_tokens,
        "ignore_eos": True, "temperature": 0, **more,
    }  # fmt: skip


def to_bytes(door: Door, body: dict[str, Any], path: str = CHAT) -> bytes:
    """The request as it is written."""
    data = json.dumps(body).encode()
    key = f"authorization: Bearer {door.key}\r\n" if door.key else ""
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\n{key}content-type: application/json\r\nconnection: close\r\n"
    return f"{head}content-length: {len(data)}\r\n\r\n".encode() + data


def lengths(num_answers: int, mean_tokens: int) -> list[int]:
    """Of so many answers, half to one and a half of the mean, the same ones each time: streams don't march in step."""
    spread = random.Random(f"{num_answers} {mean_tokens}")
    return [spread.randint(max(1, mean_tokens // 2), mean_tokens + mean_tokens // 2) for _ in range(num_answers)]


async def load(door: Door, model: str, num_streams: int, max_tokens: list[int], mark: str) -> list[Stream]:
    """Answers of these lengths, so many streams at once: who has one asks for the next. Each prompt is a new one."""
    whole = {"stream": True, "stream_options": {"include_usage": True}}
    asks = [to_bytes(door, chat(model, f"{mark} {n}", tokens, **whole)) for n, tokens in enumerate(max_tokens)]
    streams = [Stream(request) for request in asks]
    waiting = iter(streams)

    async def client() -> None:
        for stream in waiting:
            await door.connect(lambda stream=stream: stream)
            await stream.over

    await asyncio.gather(*[client() for _ in range(num_streams)])
    for one in streams:
        one.read_tokens()
    return streams
