"""`/metrics/{process}`: another process's metrics page, fetched from its Unix socket and handed on whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from inference.gateway import errors
from inference.gateway.local import METRICS, Whole, require_scraper
from inference.gateway.request import Request

if TYPE_CHECKING:
    from inference.gateway.app import Gateway
    from inference.gateway.front import Front

TIMEOUT_S = 5.0
MAX_PAGE_BYTES = 4 * 1024 * 1024
_ASK = b"GET /metrics HTTP/1.0\r\n\r\n"


class ProcessPage(Whole):
    """The front's handler; 503 when the process does not answer in time."""

    def __init__(self, gateway: Gateway, front: Front, request: Request) -> None:
        require_scraper(request)
        super().__init__(gateway, front)
        self._gateway = gateway
        self._socket = str(gateway.settings.metrics_dir / f"{request.target.name}.sock")

    def body_end(self) -> None:
        """The request is whole: ask."""
        self._gateway.spawn(self._fetch())

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                page = await _page(self._socket)
        except (OSError, TimeoutError):
            page = None
        if page is not None:
            self._respond(METRICS, page)
        else:
            self.expire(errors.overloaded("This process does not answer at the moment."))


async def _page(socket: str) -> bytes | None:
    """The body of the answer; None for one that is cut short, too long, or none at all."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(_ASK)
        answer = bytearray()
        while chunk := await reader.read(65536):
            answer += chunk
            if len(answer) > MAX_PAGE_BYTES:
                return None
    finally:
        writer.close()
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    whole = b"content-length: %d" % len(body) in head.lower().splitlines()
    return body if whole and head.split(b" ", 2)[1:2] == [b"200"] else None
