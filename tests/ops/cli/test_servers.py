"""An operator's own PostgreSQL and Redis are asked before anything is started."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.cli.servers import require_postgres, require_redis
from ops.cli.specs import socket_answers
from ops.embedded import redis
from ops.runner.errors import RunnerError


@pytest.fixture
def redis_socket(tmp_path: Path) -> Iterator[Path]:
    socket = tmp_path / "r.sock"
    process = subprocess.Popen(redis.argv(redis.server_binary(), tmp_path, socket), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not socket_answers(socket)() and time.monotonic() < deadline:
        time.sleep(0.02)
    yield socket
    process.terminate()
    process.wait(10)


def test_it_accepts_a_redis_that_answers(redis_socket: Path) -> None:
    require_redis(f"unix://{redis_socket}")


def test_it_says_that_a_redis_is_too_old(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.cli.servers.OLDEST_REDIS", (99, 0))
    with pytest.raises(RunnerError, match=r"REDIS_URL is version .*newer is needed"):
        require_redis(f"unix://{redis_socket}")


def test_it_names_the_variable_of_a_server_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="the Redis of REDIS_URL does not answer"):
        require_redis(f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(RunnerError, match="the PostgreSQL of DATABASE_URL does not answer"):
        require_postgres(f"postgresql://someone@/db?host={tmp_path}")
