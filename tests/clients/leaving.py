"""A client that may leave before its answer ends, at a moment that is chosen beforehand."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class LeavingClient:
    """One request as its client saw it. `leaves_after` is in events of a stream, of a whole answer in milliseconds."""

    key: str
    path: str
    body: dict[str, Any]
    leaves_after: int | None = None
    request_id: str = ""
    whole: bool = False
    received: bytearray = field(default_factory=bytearray)

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def answer(self) -> bytes:
        """What came after the head."""
        return bytes(self.received).partition(b"\r\n\r\n")[2]

    async def run(self, port: int) -> None:
        """Ask and read; a connection that breaks is an end like another."""
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(self._request())
                await self._read(reader)
            finally:
                writer.transport.abort()
        for line in bytes(self.received).partition(b"\r\n\r\n")[0].split(b"\r\n"):
            if line.lower().startswith(b"x-request-id: "):
                self.request_id = line.split(b": ")[1].decode()
        answer = self.answer
        self.whole = answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") if self.stream else b'"usage"' in answer

    def _request(self) -> bytes:
        body = json.dumps(self.body).encode()
        head = f"POST {self.path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.key}\r\nconnection: close\r\n"
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    async def _read(self, reader: asyncio.StreamReader) -> None:
        if self.leaves_after is not None and not self.stream:
            await asyncio.sleep(self.leaves_after / 1000)
            return
        while data := await reader.read(65536):
            self.received += data
            if self.leaves_after is not None and self.received.count(b"data: ") > self.leaves_after:
                return
