"""Requests to the gateway's own port, as a tenant's program sends them, so that limits, routing and bills are the API's."""

from __future__ import annotations

from types import TracebackType

import httpx2

from appliance.batches.answers import Answer
from appliance.env import Env, reached_at

CONNECT_S = 5.0
ANSWER_S = 1800.0  # a batch's request may wait long for an engine
IDLE_S = 2.0  # less than the gateway keeps an idle connection


class NotSent(Exception):
    """Nobody took the connection: the request can't have had an effect."""


class Lost(Exception):
    """The connection ended before the answer was whole."""


def address(env: Env) -> str:
    """The gateway's address on this machine."""
    host = reached_at(env.host)
    return f"http://[{host}]:{env.port}" if ":" in host else f"http://{host}:{env.port}"


class Gateway:
    """Connections to one gateway, kept alive between requests."""

    def __init__(self, base_url: str) -> None:
        self._client = httpx2.AsyncClient(
            base_url=base_url,
            timeout=httpx2.Timeout(ANSWER_S, connect=CONNECT_S, pool=None),
            limits=httpx2.Limits(max_connections=None, keepalive_expiry=IDLE_S),
            trust_env=False,
        )

    async def __aenter__(self) -> Gateway:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def ask(self, path: str, body: bytes, key: str) -> Answer:
        """One request and its whole answer.

        Raises: NotSent, Lost.
        """
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        try:
            response = await self._client.post(path, content=body, headers=headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise NotSent(str(error)) from error
        except httpx2.HTTPError as error:
            raise Lost(f"{type(error).__name__}: {error}") from error
        return Answer(response.status_code, response.headers, response.content)
