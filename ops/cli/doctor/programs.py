"""Programs that the appliance starts, and those that only its tests need."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator

from appliance.env import Env
from finetune.evaluate import sandbox
from finetune.evaluate.errors import SandboxMissing
from ops.cli.doctor.finding import Finding, failed, ok, warning
from ops.embedded import postgres, redis
from ops.embedded.errors import EmbeddedError

FOR_TESTS = {"chromium": "chromium", "promtool": "prometheus"}


def bubblewrap(_env: Env) -> Iterator[Finding]:
    """Generated code runs in it; it is tried out."""
    try:
        found = sandbox.find()
    except SandboxMissing as error:
        yield warning(
            "bubblewrap", str(error), "apt-get install bubblewrap; adapters are not checked with HumanEval without"
        )
    else:
        yield ok("bubblewrap", f"{found.bwrap} makes a sandbox")


def for_tests(_env: Env) -> Iterator[Finding]:
    """Asked for only where the tests are installed."""
    wanted = importlib.util.find_spec("pytest") is not None
    for program, package in FOR_TESTS.items():
        place = shutil.which(program)
        if place:
            yield ok(program, place)
        elif wanted:
            yield warning(program, "not installed; only tests need it", f"apt-get install {package}")
        else:
            yield ok(program, "not installed, and not needed: only tests use it")


def servers(env: Env) -> Iterator[Finding]:
    """The embedded servers' programs, where an operator's own are not used."""
    if env.database_url is None:
        try:
            cluster = postgres.place(env.data_dir, env.postgres_dir)
            yield ok("PostgreSQL's programs", str(cluster.bin_dir))
        except EmbeddedError as error:
            yield failed("PostgreSQL's programs", str(error), "`make deps`, or set DATABASE_URL")
    if env.redis_url is None:
        try:
            yield ok("Redis' program", str(redis.server_binary()))
        except EmbeddedError as error:
            yield failed("Redis' program", str(error), "`make deps`, or set REDIS_URL")
