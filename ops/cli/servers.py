"""The PostgreSQL and Redis an appliance uses: embedded ones are started, an operator's own are asked whether they fit."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from appliance.env import Env
from ops.cli.specs import postgres_spec, redis_spec
from ops.embedded import postgres
from ops.runner.errors import RunnerError
from ops.runner.runner import Runner

OLDEST_POSTGRES = 150000  # PostgreSQL 15, as server_version_num counts
OLDEST_REDIS = (6, 2)
CONNECT_S = 5


def start_servers(env: Env, runner: Runner, report: Callable[[str], None]) -> None:
    """Have both servers answer.

    Raises: RunnerError or EmbeddedError with what to do.
    """
    if env.database_url is None:
        cluster = postgres.place(env.data_dir, env.postgres_dir)
        postgres.prepare(cluster)
        postgres.wait_for_killed_server(cluster)
        report(f"starting PostgreSQL ({cluster.data_dir})")
        runner.start(postgres_spec(env, cluster))
    else:
        require_postgres(env.database_url)
    if env.redis_url is None:
        report("starting Redis")
        runner.start(redis_spec(env))
    else:
        require_redis(env.redis_url)


def require_postgres(dsn: str) -> None:
    """Raises: RunnerError when the server doesn't answer or is too old."""
    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_S) as connection:
            version = connection.info.server_version
    except psycopg.Error as error:
        raise RunnerError(f"the PostgreSQL of DATABASE_URL does not answer: {str(error).splitlines()[0]}") from None
    if version < OLDEST_POSTGRES:
        raise RunnerError(f"the PostgreSQL of DATABASE_URL is version {version // 10000}; 15 or newer is needed")


def require_redis(url: str) -> None:
    """Raises: RunnerError when the server doesn't answer or is too old."""
    import redis  # noqa: PLC0415 - a fifth of what every command's start takes, and few need it

    client = redis.Redis.from_url(url, socket_connect_timeout=CONNECT_S, socket_timeout=CONNECT_S)
    try:
        found = str(client.info("server")["redis_version"])
    except redis.RedisError as error:
        raise RunnerError(f"the Redis of REDIS_URL does not answer: {error}") from None
    finally:
        client.close()
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST_REDIS:
        raise RunnerError(f"the Redis of REDIS_URL is version {found}; 6.2 or newer is needed")
