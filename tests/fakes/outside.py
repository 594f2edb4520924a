"""A fake server that the pool did not start: the fake engine on a TCP port, with TLS and a key where asked for.

`lacks` names what it can't do: `priority` and `cache_salt` are answered with 400, `usage` is left out of streams, `aborts` and
`metrics` are unknown paths. `sick` makes it answer 503 to everything; `garbage` makes its answers unreadable.
"""

from __future__ import annotations

import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

from tests.fakes.engine import FakeEngine, _Connection

METRICS = """vllm:prompt_tokens_total {prompt}
vllm:generation_tokens_total {generation}
vllm:num_requests_running {running}
vllm:num_requests_waiting 0
"""


class OutsideServer(FakeEngine):
    """Listens on 127.0.0.1; `url` says where."""

    def __init__(
        self, model: str, *lacks: str, key: str = "", tls: ssl.SSLContext | None = None, context: int | None = 4096
    ) -> None:
        super().__init__(Path("/nonexistent/none.sock"), model)
        self.lacks = frozenset(lacks)
        self.key = key
        self.context = context
        self.sick = False
        self.garbage = b""
        self.port = 0
        self.tls = tls
        self.keys: list[str] = []

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(
            lambda: _Outside(self), "127.0.0.1", self.port, ssl=self.tls, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def revived(self) -> OutsideServer:
        """Another one in its place, as after a restart."""
        other = OutsideServer(str(self.base), *self.lacks, key=self.key, tls=self.tls, context=self.context)
        other.port = self.port
        other.start()
        return other


class _Outside(_Connection):
    engine: OutsideServer

    async def answer(self) -> None:
        path, body = self.url.decode(), json.loads(self.body or b"{}")
        engine = self.engine
        engine.keys.append(self.headers.get("authorization", ""))
        if engine.garbage:
            self.transport.write(engine.garbage)
        elif engine.sick:
            self.refuse(503, "sick")
        elif engine.key and self.headers.get("authorization") != f"Bearer {engine.key}":
            self.refuse(401, "Unauthorized")
        elif path == "/health":
            self.respond(200, None)
        elif path == "/metrics" and "metrics" not in engine.lacks:
            page = METRICS.format(
                prompt=engine.prompt_tokens, generation=engine.generation_tokens, running=len(engine.running)
            ).encode()
            self.transport.write(b"HTTP/1.1 200 X\r\ncontent-length: %d\r\n\r\n%b" % (len(page), page))
        elif path == "/inference/v1/abort_requests" and "aborts" in engine.lacks:
            self.respond(404, {"detail": "Not Found"})
        elif refused := [name for name in ("priority", "cache_salt") if name in body and name in engine.lacks]:
            self.refuse(400, f"{refused[0]} is not supported")
        else:
            if "usage" in engine.lacks and path.startswith("/v1/"):
                body.pop("stream_options", None)
                self.body = json.dumps(body).encode()
            await super().answer()

    def models(self) -> list[dict[str, Any]]:
        return [{**one, "max_model_len": self.engine.context} for one in super().models()]


def make_ca(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A throw-away CA's certificate, and what a server on 127.0.0.1 shows that it signed."""
    ca_key, ca, key, request, signed, extra = (
        directory / name for name in ("ca.key", "ca.pem", "server.key", "server.csr", "server.pem", "extra.cnf")
    )
    extra.write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    sign = ["openssl", "x509", "-req", "-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial", "-days", "2"]
    for command in (
        [*new, "-x509", "-days", "2", "-subj", "/CN=throw-away", "-keyout", str(ca_key), "-out", str(ca)],
        [*new, "-subj", "/CN=server", "-keyout", str(key), "-out", str(request)],
        [*sign, "-in", str(request), "-extfile", str(extra), "-out", str(signed)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(signed, key)
    return ca, context
