"""The limits' tests share the gateway's Redis, empty for each of them and after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.inference.gateway.redis_server import RedisServer


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[RedisServer]:
    if redis_server.process is None:
        redis_server.start()
    redis_server.client().flushall()
    yield redis_server
    if redis_server.process is None:
        redis_server.start()
    redis_server.client().flushall()  # what is left open here would never come to rest for the gateway's own tests
