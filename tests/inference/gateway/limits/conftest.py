"""The limits' tests share the gateway's Redis, empty for each of them."""

from __future__ import annotations

import pytest

from tests.inference.gateway.redis_server import RedisServer


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    if redis_server.process is None:
        redis_server.start()
    redis_server.client().flushall()
    return redis_server
