"""What runs: the runner and its processes, the port, PostgreSQL and its schema, Redis, and the replicas."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from appliance.env import Env
from inference.pool.process import is_alive
from ops.cli.database import connect
from ops.cli.doctor.finding import Finding, failed, ok, warning
from ops.cli.doctor.stored import model
from ops.cli.servers import CONNECT_S, require_postgres, require_redis
from ops.cli.specs import control_plane_specs, port_answers
from ops.cli.surroundings import require_port
from ops.runner.errors import RunnerError
from ops.runner.runner import runner_pid

START = "`make start`"
CLOCKS_APART_S = 5.0
CONSOLE_S = 5.0


def processes(env: Env) -> Iterator[Finding]:
    """The runner, each of its processes, and the gateway's port."""
    pid = runner_pid(env.run_dir)
    if pid is None:
        yield warning("processes", "the appliance does not run", START)
        yield _port(env)
        return
    rows = json.loads((env.run_dir / "processes.json").read_text(encoding="utf-8"))
    alive = {row["name"] for row in rows if is_alive(row["pid"], row["started"])}
    wanted = {spec.name for spec in control_plane_specs(env)}
    wanted |= {name for name, url in (("postgres", env.database_url), ("redis", env.redis_url)) if url is None}
    if missing := sorted(wanted - alive):
        advice = f"the runner starts them again; their logs say why they ended: {env.log_dir}"
        yield failed("processes", f"do not run: {', '.join(missing)}", advice)
    else:
        yield ok("processes", f"{len(wanted)} under the runner (pid {pid})")
    if port_answers(env.host, env.port)():
        yield ok("port", f"{env.host}:{env.port} answers")
    else:
        yield failed("port", f"{env.host}:{env.port} does not answer", f"see {env.log_dir / 'gateway.log'}")
    yield _console(env)


def _console(env: Env) -> Finding:
    """A process that is there may still not answer."""
    advice = f"see {env.log_dir / 'console.log'}; this command line and the gateway do without it"
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(CONSOLE_S)
        try:
            line.connect(str(env.console_socket))
            line.sendall(b"HEAD /login/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
            status = line.recv(64).split(b" ")[1:2]
        except OSError as error:
            return failed("console", f"does not answer: {error}", advice)
    if not status or status[0] >= b"500":
        return failed("console", f"answers with {b''.join(status).decode() or 'nothing'}", advice)
    return ok("console", "answers")


def _port(env: Env) -> Finding:
    try:
        require_port(env)
    except RunnerError as error:
        return failed("port", str(error), "end what listens there, or set CODERACK_PORT")
    return ok("port", f"{env.host}:{env.port} is free")


def servers(env: Env) -> Iterator[Finding]:
    """PostgreSQL and Redis: do they answer, and are they new enough."""
    runs = runner_pid(env.run_dir) is not None
    asked: tuple[tuple[str, str | None, Callable[[str], None], str], ...] = (
        ("PostgreSQL", env.database_url, require_postgres, env.database_dsn()),
        ("Redis", env.redis_url, require_redis, env.redis_dsn()),
    )
    for name, url, require, address in asked:
        if not runs and url is None:
            yield warning(name, "the embedded one does not run", START)
            continue
        try:
            require(address)
        except RunnerError as error:
            told = (
                str(error).replace(" of DATABASE_URL", "").replace(" of REDIS_URL", "") if url is None else str(error)
            )
            yield failed(name, told, "see that server's own log" if url else f"see its log in {env.log_dir}")
        else:
            yield ok(name, "answers")


def rows(env: Env, deep: bool) -> Iterator[Finding]:
    """What the database says: its schema, its clock, the models that are registered elsewhere, the replicas."""
    try:
        with psycopg.connect(env.database_dsn(), connect_timeout=CONNECT_S) as connection:
            apart_s = _clocks_apart_s(connection)
    except psycopg.Error:
        return  # told by `servers`
    if apart_s > CLOCKS_APART_S:
        yield failed("database's clock", f"{apart_s:.0f} s from this machine's", "have one time server keep both")
    connect()
    if (pending := _pending()) > 0:
        yield failed("schema", f"{pending} migrations are missing", "stop and start the appliance: it applies them")
        return
    yield ok("schema", "up to date")
    yield from _registered(env, deep)
    yield from _replicas()


def _clocks_apart_s(connection: psycopg.Connection[tuple[datetime]]) -> float:
    found = connection.execute("SELECT clock_timestamp()").fetchone()
    return abs((found[0] - datetime.now(UTC)).total_seconds()) if found else 0.0


def _pending() -> int:
    from django.db import connection  # noqa: PLC0415 - after Django's setup
    from django.db.migrations.executor import MigrationExecutor  # noqa: PLC0415

    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _registered(env: Env, deep: bool) -> Iterator[Finding]:
    from appliance.registry.models import ModelVersion  # noqa: PLC0415

    paths = {Path(path) for path in ModelVersion.objects.values_list("path", flat=True)}
    for path in sorted(paths):
        if path.parent != env.cache_dir / "models" or not path.exists():  # those there are looked at without a database
            yield model(path, deep)


def _replicas() -> Iterator[Finding]:
    from appliance.fleet.models import Deployment  # noqa: PLC0415

    for row in Deployment.objects.filter(running=True).select_related("model").prefetch_related("replica_rows"):
        found = list(row.replica_rows.all())
        check = f"replicas of {row.name}" + ("" if row.serves else f" ({row.model.digest[:12]})")
        broken = [replica for replica in found if replica.state == "failed"]
        num_ready = sum(replica.state == "ready" for replica in found)
        if broken:
            reason = next(iter(broken[0].reason.splitlines()), "no reason was recorded")
            yield failed(check, f"{len(broken)} failed: {reason}", "`coderack status` shows them, their logs say more")
        elif num_ready < row.replicas - sum(bool(replica.lent_to) for replica in found):
            yield warning(check, f"{num_ready} of {row.replicas} are ready", "`coderack status` shows what the rest do")
        else:
            yield ok(check, f"{num_ready} of {row.replicas} are ready")
