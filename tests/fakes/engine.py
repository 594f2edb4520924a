"""A fake engine: vLLM's HTTP answers over a Unix socket, byte for byte in shape, with faults on demand.

The last prompt text orders the behaviour as `name=value` words: `tokens=5`, `delay=0.01` (seconds per token), `first=2`
(seconds before the first), `die=3` (connections drop after so many tokens), `hang=3`, `error=3` (an error event),
`status=500`, `split=1` (bytes written in small pieces), `merge=1` (all in one write), `deaf=1` (aborts are not heard),
`late=1` (seconds between a merged stream's last event and its end),
`pad=1000` (bytes of text per token). With `can_sleep` it has vLLM's routes for sleep; what it is asked while it sleeps
waits until it wakes. It counts tokens as vLLM does. What tokens mean is left to the real engine.

Given its base model's name it knows no other model but the adapters it was told to load, and begins an adapter's answers
with `<adapter's name>`; without one it answers to every name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.fakes.http_server import HttpConnection, drop_all

PROMPT_TOKENS = 7


class FakeEngine:
    """Runs in a thread of its own; counters are read from outside."""

    def __init__(self, socket: Path, base: str | None = None) -> None:
        self.socket = socket
        self.base = base
        self.adapters: dict[str, str] = {}
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.made: Counter[str] = Counter()  # tokens by the request's id
        self.bodies: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.aborted: list[str] = []
        self.num_connections = 0
        self.can_sleep = False
        self.awake = asyncio.Event()
        self.awake.set()
        self.running: dict[str, asyncio.Event] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._call(self._listen())

    def stop(self) -> None:
        """Die: every connection drops. Said twice, nothing more happens."""
        if self._loop.is_closed():
            return
        self._call(self._drop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)

    async def _listen(self) -> None:
        self._server = await self._loop.create_unix_server(lambda: _Connection(self), str(self.socket))

    async def _drop(self) -> None:
        assert self._server is not None
        self._server.close()
        await drop_all(self._connections)
        self.socket.unlink(missing_ok=True)


class _Connection(HttpConnection):
    def __init__(self, engine: FakeEngine) -> None:
        super().__init__(engine._connections)
        self.engine = engine
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.engine.num_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    async def answer(self) -> None:
        path, body = self.url.decode(), json.loads(self.body or b"{}")
        if self.engine.can_sleep and self.sleeps(path.partition("?")[0]):
            return
        if path == "/inference/v1/abort_requests":
            self.abort(body["request_ids"])
        elif path == "/v1/models":
            self.respond(200, {"object": "list", "data": self.models()})
        elif path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            self.change_adapters(path == "/v1/load_lora_adapter", body)
        elif path in ("/v1/chat/completions", "/v1/completions"):
            self.engine.bodies.append(body)
            if self.engine.base is not None and body["model"] not in {self.engine.base, *self.engine.adapters}:
                self.refuse(404, f"The model `{body['model']}` does not exist.")
                return
            self.engine.heads.append(self.headers)
            await self.engine.awake.wait()
            await _Generation(self, path, body).run()
        else:
            self.respond(404, {"detail": "Not Found"})

    def sleeps(self, path: str) -> bool:
        """Answer one of the routes for sleep; False for any other."""
        if path == "/sleep":
            self.engine.awake.clear()
            self.respond(200, {"status": "sleeping", "level": 1})
        elif path == "/wake_up":
            self.engine.awake.set()
            self.respond(200, {"status": "awake", "tags": None})
        elif path == "/is_sleeping":
            self.respond(200, {"is_sleeping": not self.engine.awake.is_set()})
        else:
            return False
        return True

    def models(self) -> list[dict[str, Any]]:
        base = {"id": self.engine.base or "base", "object": "model", "root": "/models/base", "parent": None}
        adapters = self.engine.adapters.items()
        return [base, *({"id": name, "object": "model", "root": path, "parent": base["id"]} for name, path in adapters)]

    def change_adapters(self, load: bool, body: dict[str, Any]) -> None:
        name = body["lora_name"]
        if load == (name in self.engine.adapters):
            self.refuse(400 if load else 404, f"The lora adapter '{name}' has already been loaded, or cannot be found.")
        elif load:
            self.engine.adapters[name] = body["lora_path"]
            self.respond(200, None)
        else:
            del self.engine.adapters[name]
            self.respond(200, None)

    def refuse(self, status: int, message: str) -> None:
        self.respond(status, {"error": {"message": message, "type": "NotFoundError", "param": None, "code": status}})

    def abort(self, ids: list[str]) -> None:
        self.engine.aborted.extend(ids)
        for request_id in ids:
            if request_id in self.engine.running:
                self.engine.running[request_id].set()
        self.respond(200, None)


class _Generation:
    def __init__(self, connection: _Connection, path: str, body: dict[str, Any]) -> None:
        self.connection, self.engine, self.body = connection, connection.engine, body
        self.chat = path == "/v1/chat/completions"
        text = body["messages"][-1].get("content") if self.chat else body["prompt"]
        if isinstance(text, list):
            text = text[0] if text else ""
        if isinstance(text, dict):
            text = text.get("text")
        text = text if isinstance(text, str) else ""
        self.orders = dict(word.split("=", 1) for word in text.split() if "=" in word)
        prompts = body.get("prompt")
        self.num_prompts = len(prompts) if isinstance(prompts, list) and isinstance(prompts[0], list | str) else 1
        self.num_sequences = self.num_prompts * (body.get("n") or 1)
        self.id = ("chatcmpl-" if self.chat else "cmpl-") + connection.headers["x-request-id"]
        self.stop = asyncio.Event()
        self.num_tokens = 0
        self.texts = [""] * self.num_sequences
        self.parts: list[bytes] = []

    def order(self, name: str, default: float = 0) -> float:
        return float(self.orders.get(name, default))

    async def run(self) -> None:
        if status := int(self.order("status")):
            message = self.orders.get("message", "made up").replace("_", " ")
            error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
            self.connection.respond(status, {"error": error})
            return
        ids = [self.id] if self.chat else [f"{self.id}-{index}" for index in range(self.num_prompts)]
        if not self.order("deaf"):
            self.engine.running.update(dict.fromkeys(ids, self.stop))
        try:
            await (self.stream() if self.body.get("stream") else self.unary())
        finally:
            for request_id in ids:
                self.engine.running.pop(request_id, None)

    async def tokens(self) -> Any:
        wanted = min(int(self.order("tokens", 5)), self.body.get("max_tokens") or 16)
        await self.sleep(self.order("first"))
        for number in range(wanted):
            if self.stop.is_set():
                return
            if "hang" in self.orders and number == self.order("hang"):
                await self.stop.wait()
                return
            if "die" in self.orders and number == self.order("die"):
                await asyncio.sleep(0.05)
                self.connection.transport.abort()
                await asyncio.sleep(60)
            for sequence in range(self.num_sequences):
                if number == 0:
                    self.engine.prompt_tokens += PROMPT_TOKENS
                self.engine.generation_tokens += 1
                self.engine.made[self.connection.headers["x-request-id"]] += 1
                self.num_tokens += 1
                mark = f"<{self.body['model']}>" if number == 0 and self.body["model"] in self.engine.adapters else ""
                text = f"{mark} {number}" + "x" * int(self.order("pad"))
                self.texts[sequence] += text
                yield sequence, text, "length" if number == wanted - 1 else None
            await self.sleep(self.order("delay"))

    async def sleep(self, seconds: float) -> None:
        if seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), seconds)

    def usage(self) -> dict[str, Any]:
        prompt = PROMPT_TOKENS * self.num_prompts
        total = prompt + self.num_tokens
        details = {"cached_tokens": 3}
        return {
            "prompt_tokens": prompt,
            "total_tokens": total,
            "completion_tokens": self.num_tokens,
            "prompt_tokens_details": details,
        }

    def shape(self, choices: list[Any], **more: Any) -> dict[str, Any]:
        kind = "chat.completion" + (".chunk" if self.body.get("stream") else "") if self.chat else "text_completion"
        return {"id": self.id, "object": kind, "created": 1, "model": self.body["model"], "choices": choices, **more}

    async def stream(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        self.connection.transport.write(head + b"transfer-encoding: chunked\r\n\r\n")
        if self.chat:
            for sequence in range(self.num_sequences):
                delta = {"role": "assistant", "content": ""}
                await self.event(self.shape([{"index": sequence, "delta": delta, "finish_reason": None}]))
        number = 0
        async for sequence, text, reason in self.tokens():
            if "error" in self.orders and number == self.order("error"):
                error = {
                    "message": "EngineCore died at 0xdead",
                    "type": "InternalServerError",
                    "param": None,
                    "code": 500,
                }
                await self.event({"error": error})
                await self.write(b"data: [DONE]\n\n", last=True)
                return
            number += 1
            content = {"delta": {"content": text}} if self.chat else {"text": text}
            await self.event(self.shape([{"index": sequence, **content, "finish_reason": reason}]))
        if (self.body.get("stream_options") or {}).get("include_usage"):
            await self.event(self.shape([], usage=self.usage(), system_fingerprint="fake"))
        await self.write(b"data: [DONE]\n\n", last=True)

    async def event(self, content: dict[str, Any]) -> None:
        await self.write(b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n")

    async def write(self, data: bytes, *, last: bool = False) -> None:
        framed = b"%x\r\n%b\r\n" % (len(data), data) + (b"0\r\n\r\n" if last else b"")
        if self.order("merge"):
            self.parts.append(framed)
            if last:
                merged = b"".join(self.parts)
                end = merged[-5:] if self.order("late") else b""
                self.connection.transport.write(merged.removesuffix(end))
                await self.sleep(self.order("late"))
                self.connection.transport.write(end)
            return
        step = 7 if self.order("split") else len(framed)
        for start in range(0, len(framed), step):
            await self.connection.writable.wait()
            self.connection.transport.write(framed[start : start + step])
            await asyncio.sleep(0)  # a writable connection's wait does not yield, and then no loss would be noticed

    async def unary(self) -> None:
        async for _ in self.tokens():
            pass
        reason = "abort" if self.stop.is_set() else "length"
        choices: list[dict[str, Any]] = []
        for sequence, text in enumerate(self.texts):
            content = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
            choices.append({"index": sequence, **content, "finish_reason": reason})
        self.connection.respond(200, self.shape(choices, usage=self.usage()))
