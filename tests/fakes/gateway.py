"""A fake gateway: answers chat and completions over HTTP on a port of loopback, with refusals on demand.

The request's `user` field orders the behaviour as `name=value` words: `status=400` (always), `busy=2` (so many 503s first),
`limit=2` (so many 429s first), `quota=1` (429 that waiting does not help), `fault=2` (so many 500s first), `drop=2` (so many
lost connections first), `hold=1` (no answer before `release`). Answers echo the prompt. A key that `knows` refuses gets 401.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import httptools

TOKENS = (7, 3, 2)  # input, cached of it, output


class FakeGateway:
    """Runs in a thread of its own; what it saw is read from outside."""

    def __init__(self, knows: Callable[[str], bool] = lambda key: True) -> None:
        self.knows = knows
        self.port = 0
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.paths: set[str] = set()
        self.num_open = 0
        self.most_open = 0
        self.max_open: int | None = None  # more at once are told 429
        self.released = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    def start(self, port: int = 0) -> None:
        """Listen; on a port that was listened on before, after `stop`."""
        if not self._thread.is_alive():
            self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(port), self._loop).result(10)

    def stop(self) -> None:
        """Close the port and drop every connection."""
        asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result(10)

    def end(self) -> None:
        """Stop for good."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self, port: int) -> None:
        self._server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _drop(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        for connection in list(self._connections):
            connection.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Connection(asyncio.Protocol):
    def __init__(self, gateway: FakeGateway) -> None:
        self.gateway = gateway
        self.task: asyncio.Task[None] | None = None
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.body = b"", b""
        self.headers: dict[str, str] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.gateway._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gateway._connections.discard(self)
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

    async def answer(self) -> None:
        gateway, body = self.gateway, json.loads(self.body)
        key = self.headers["authorization"].removeprefix("Bearer ")
        if not await asyncio.to_thread(gateway.knows, key):
            self.refuse(401, "invalid_api_key")
            return
        gateway.keys.add(key)
        gateway.paths.add(self.url.decode())
        gateway.num_open += 1
        gateway.most_open = max(gateway.most_open, gateway.num_open)
        try:
            await self.obey(body)
        finally:
            gateway.num_open -= 1

    async def obey(self, body: dict[str, Any]) -> None:
        gateway = self.gateway
        text = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
        orders = dict(word.split("=", 1) for word in str(body.get("user", "")).split())
        count = gateway.asked[text]
        gateway.asked[text] += 1
        if gateway.max_open is not None and gateway.num_open > gateway.max_open:
            self.refuse(429, "rate_limit_exceeded", {"retry-after-ms": "20"})
        elif count < int(orders.get("busy", 0)):
            self.refuse(503, "overloaded", {"retry-after-ms": "20"})
        elif count < int(orders.get("limit", 0)):
            self.refuse(429, "rate_limit_exceeded", {"retry-after-ms": "20"})
        elif "quota" in orders:
            self.refuse(429, "insufficient_quota", {"x-should-retry": "false"})
        elif count < int(orders.get("fault", 0)):
            self.refuse(500, "internal_error", {"retry-after-ms": "1"})
        elif count < int(orders.get("drop", 0)):
            self.transport.abort()
        elif "status" in orders:
            self.refuse(int(orders["status"]), "made_up")
        else:
            while "hold" in orders and not gateway.released.is_set():
                await asyncio.sleep(0.01)
            await asyncio.sleep(float(orders.get("delay", 0)))
            self.respond(200, self.shape(text, body))
            gateway.answered[text] += 1

    def shape(self, text: str, body: dict[str, Any]) -> dict[str, Any]:
        prompt, cached, completion = TOKENS
        choice = {"text": text} if "prompt" in body else {"message": {"role": "assistant", "content": text}}
        return {
            "id": "cmpl-1", "object": "x", "created": 1, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", **choice}],
            "usage": {
                "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": cached},
            },
        }  # fmt: skip

    def refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        error = {"message": "made up", "type": "made_up", "param": None, "code": code}
        self.respond(status, {"error": error}, headers or {})

    def respond(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        told = {"content-type": "application/json", "x-request-id": "req_1", **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        self.transport.write(f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body)
