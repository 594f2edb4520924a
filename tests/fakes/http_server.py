"""What fake servers of HTTP have in common: a request is read whole, then answered by a task that ends with its connection."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httptools


class HttpConnection(asyncio.Protocol):
    """One client's connection, of the set of those that are open; a request at a time, answered by `answer`."""

    def __init__(self, opened: set[Any]) -> None:
        self._opened = opened
        self.task: asyncio.Task[None] | None = None
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.body = b"", b""
        self.headers: dict[str, str] = {}

    async def answer(self) -> None:
        """Say something to the request that was read."""
        raise NotImplementedError

    def respond(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        """A whole answer; None is an empty one."""
        body = b"" if content is None else json.dumps(content).encode()
        told = {"server": "uvicorn", "content-type": "application/json", **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        head = f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._opened.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._opened.discard(self)
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url, self.headers, self.body = b"", {}, b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.answer())


async def drop_all(opened: set[Any]) -> None:
    """Cut every connection off, and wait until nobody answers any more."""
    connections = list(opened)
    for connection in connections:
        connection.transport.abort()
    tasks = [connection.task for connection in connections if connection.task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
