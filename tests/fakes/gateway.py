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

from tests.fakes.http_server import HttpConnection, drop_all

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
        await drop_all(self._connections)


class _Connection(HttpConnection):
    def __init__(self, gateway: FakeGateway) -> None:
        super().__init__(gateway._connections)
        self.gateway = gateway

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
        self.respond(status, {"error": error}, headers)

    def respond(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        super().respond(status, content, {"x-request-id": "req_1", **(headers or {})})
