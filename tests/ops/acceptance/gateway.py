"""A gateway as the load generator meets it: a model list, and streamed completions of so many tokens over real HTTP."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Behaviour:
    """What it does: each `fail_each`th request fails, if that is set.

    `settled` is called with each answered request's id, input and output tokens before its last bytes.
    """

    token_s: float = 0.002
    first_s: float = 0.0
    prompt_tokens: int = 40
    cached_tokens: int = 0
    fail_each: int = 0
    drop_usage: bool = False
    begin: bytes = b""
    settled: Callable[[str, int, int], None] = lambda *_: None
    num_requests: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)


class FakeGateway:
    """Serves on a free port of 127.0.0.1 until it is closed."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        handler = type("Handler", (_Handler,), {"behaviour": behaviour})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(20)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Behaviour

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._whole(200, b'{"data":[]}')

    def do_POST(self) -> None:
        told = self.behaviour
        told.num_requests += 1
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        told.bodies.append(body)
        if told.fail_each and told.num_requests % told.fail_each == 0:
            self._whole(503, b'{"error":{"message":"no engine"}}')
            return
        self._stream(body["max_tokens"], f"req-{uuid.uuid4().hex}")

    def _whole(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, num_tokens: int, request_id: str) -> None:
        told = self.behaviour
        self.send_response(200)
        self.send_header("X-Request-Id", request_id)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if told.begin:
            self._chunk(told.begin)
        time.sleep(told.first_s)
        for _ in range(num_tokens):
            self._event({"choices": [{"text": "data: {\n\ndata: {"}]})
            time.sleep(told.token_s)
        told.settled(request_id, told.prompt_tokens, num_tokens)
        if not told.drop_usage:
            details = {"cached_tokens": told.cached_tokens}
            usage = {
                "prompt_tokens": told.prompt_tokens,
                "completion_tokens": num_tokens,
                "prompt_tokens_details": details,
            }
            self._event({"choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, event: dict[str, Any]) -> None:
        text = b"data: " + json.dumps(event).encode() + b"\n\n"
        self._chunk(text[:7])  # a read may end anywhere
        self._chunk(text[7:])

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
