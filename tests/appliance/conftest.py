"""A real PostgreSQL and a real Redis for the control plane's tests, started once per session and ended with it.

Django is set up when this file is imported, because test modules import models; nothing is started before a test asks for
`database`. Tests that write rows ask for `db`, which empties every table afterwards.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import django
import pytest
from django.conf import settings

ROOT = Path(tempfile.mkdtemp(prefix="coderack-test-", dir="/tmp"))  # short: a socket's path is limited to 107 bytes
ROOT.chmod(0o755)  # root's embedded PostgreSQL runs as another user
atexit.register(shutil.rmtree, ROOT, ignore_errors=True)
ENVIRONMENT = {
    "CODERACK_DATA_DIR": str(ROOT / "data"),
    "CODERACK_CACHE_DIR": str(ROOT / "cache"),
    "CODERACK_RUN_DIR": str(ROOT / "run"),
    "CODERACK_SECRET_KEY": "for tests only",
    "CODERACK_ALLOWED_HOSTS": "testserver,127.0.0.1,localhost",
    "DJANGO_SETTINGS_MODULE": "appliance.settings",
}
# What outlives a test: rows that migrations made.
KEPT_TABLES = frozenset({"django_migrations", "django_content_type", "auth_permission", "gateway_generation"})
START_TIMEOUT_S = 60.0


def _set_up_django() -> None:
    """Read the settings under the tests' own environment, and leave the session's environment as it was."""
    for directory in (ROOT / "data", ROOT / "cache" / "static"):
        directory.mkdir(parents=True)
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        django.setup()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow on purpose


_set_up_django()


@pytest.fixture(scope="session")
def database() -> Iterator[None]:
    """A migrated test database and a Redis; both servers end with the session."""
    from django.db import connection
    from django.test.utils import setup_test_environment, teardown_test_environment

    servers = [_start_postgres(), _start_redis()]
    setup_test_environment(debug=False)
    try:
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        yield
    finally:
        teardown_test_environment()
        connection.close()
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(timeout=30)


@pytest.fixture(autouse=True)
def language() -> Iterator[None]:
    """Each test begins in the default language: a request for a Chinese page leaves its thread in Chinese."""
    from django.utils import translation

    translation.deactivate()
    yield
    translation.deactivate()


@pytest.fixture
def db(database: None) -> Iterator[None]:
    """Empty tables and an empty Redis after the test."""
    from django.core.cache import cache
    from django.db import connection, transaction

    yield
    tables = sorted(
        set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - KEPT_TABLES
    )
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER audit_append_only")  # the log begins anew, too
        cursor.execute("TRUNCATE " + ", ".join(f'"{table}"' for table in tables) + " RESTART IDENTITY CASCADE")
        cursor.execute("ALTER TABLE audit_auditentry ENABLE TRIGGER audit_append_only")
    shutil.rmtree(settings.ENV.data_dir / "audit", ignore_errors=True)
    shutil.rmtree(settings.ENV.conversation_dir, ignore_errors=True)
    cache.clear()


def _start_postgres() -> subprocess.Popen[bytes]:
    from ops.embedded import postgres

    cluster = postgres.place(settings.ENV.data_dir, settings.ENV.postgres_dir)
    settings.ENV.run_dir.mkdir(parents=True, exist_ok=True)
    postgres.prepare(cluster)
    log = (ROOT / "postgres.log").open("wb")
    groups: list[int] | None = None if cluster.user is None else []
    server = subprocess.Popen(
        [*cluster.argv(), "-c", "fsync=off"], cwd="/", stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        user=cluster.user, group=cluster.group, extra_groups=groups,
    )  # fmt: skip
    log.close()
    dsn = settings.ENV.database_dsn()
    _wait_for(lambda: postgres.answers(dsn), server, ROOT / "postgres.log")
    return server


def _start_redis() -> subprocess.Popen[bytes]:
    from ops.cli.specs import socket_answers
    from ops.embedded import redis

    directory = settings.ENV.data_dir / "redis"
    directory.mkdir(parents=True, exist_ok=True)
    log = (ROOT / "redis.log").open("wb")
    server = subprocess.Popen(
        redis.argv(redis.server_binary(), directory, settings.ENV.redis_socket), stdout=log, stderr=log,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    log.close()
    _wait_for(socket_answers(settings.ENV.redis_socket), server, ROOT / "redis.log")
    return server


def _wait_for(answers: Callable[[], bool], server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"a server did not start; {log} ends with: {log.read_text(errors='replace')[-800:]}")
        time.sleep(0.05)
