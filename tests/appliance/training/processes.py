"""Processes of their own beside the tests' PostgreSQL: what another process of the appliance does or starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.db import connection

from appliance.env import REPO

QUEUE = "coderack.home"


def environment(redis_url: str | None = None) -> dict[str, str]:
    """The environment of a process that uses the test database, and the tests' Redis unless another one is named."""
    env = settings.ENV
    return {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "appliance.settings",
        "CODERACK_DATA_DIR": str(env.data_dir),
        "CODERACK_CACHE_DIR": str(env.cache_dir),
        "CODERACK_RUN_DIR": str(env.run_dir),
        "CODERACK_SECRET_KEY": "for tests only",
        "DATABASE_URL": f"postgresql://coderack@/{connection.settings_dict['NAME']}?host={env.postgres_dir}",
        "REDIS_URL": redis_url or env.redis_dsn(),
    }


def run(script: str, *arguments: str, redis_url: str | None = None) -> str:
    """What a script prints, run with Django set up."""
    code = f"import django, sys\ndjango.setup()\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=REPO, env=environment(redis_url), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def messages(queue: str = QUEUE) -> list[bytes]:
    """What lies in a queue of the tests' Redis, the newest first."""
    with redis.Redis(unix_socket_path=str(settings.ENV.redis_socket)) as client:
        found: Any = client.lrange(queue, 0, -1)
    return list(found)


def start_redis(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """A Redis that a test may kill; its socket is `redis.sock` in the folder."""
    from ops.embedded import redis as embedded

    argv = embedded.argv(embedded.server_binary(), folder, folder / "redis.sock")
    with log.open("ab") as out:
        return subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
