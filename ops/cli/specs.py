"""The appliance's own processes as the runner needs them: command lines, environments, logs, readiness."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from appliance.env import PREFIX, REPO, VARIABLES, Env, reached_at
from ops.embedded import postgres, redis
from ops.runner.processes import ProcessSpec

GATEWAY_STOP_S = 7.0  # gunicorn's graceful time and a second
POOL_STOP_S = 10.5
WORKER_STOP_S = 10.0  # a trainer writes a checkpoint before it ends
BATCHES_STOP_S = 8.0  # what is at the gateway gets half of it
HOME_QUEUE = "coderack.home"  # appliance.training.celery's, which needs Django
WORKER_THREADS = 24  # each waits for a process or an engine most of its time


def child_environment(env: Env) -> dict[str, str]:
    """What a control-plane process inherits: the settings, resolved, and nothing surprising."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "PYTHON"))}
    resolved = {
        "CODERACK_DATA_DIR": str(env.data_dir),
        "CODERACK_CACHE_DIR": str(env.cache_dir),
        "CODERACK_RUN_DIR": str(env.run_dir),
        "DJANGO_SETTINGS_MODULE": "appliance.settings",
        "PYTHONUNBUFFERED": "1",
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    }
    return inherited | resolved


def server_environment() -> dict[str, str]:
    """What PostgreSQL and Redis inherit: none of the appliance's settings or secrets."""
    ours = {v.name for v in VARIABLES}
    return {
        k: v for k, v in os.environ.items() if not k.startswith((PREFIX, "DJANGO_", "PYTHON", "PG")) and k not in ours
    }


def postgres_spec(env: Env, cluster: postgres.Cluster) -> ProcessSpec:
    """The embedded PostgreSQL; SIGINT is its fast shutdown."""
    return ProcessSpec(
        name="postgres",
        argv=tuple(cluster.argv()),
        env=server_environment(),
        log=env.log_dir / "postgres.log",
        cwd=Path("/"),
        ready=lambda: postgres.answers(env.database_dsn()),
        stop_signal=signal.SIGINT,
        stop_timeout_s=6.0,
        user=cluster.user,
        group=cluster.group,
    )


def redis_spec(env: Env) -> ProcessSpec:
    """The embedded Redis."""
    data = env.data_dir / "redis"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return ProcessSpec(
        name="redis",
        argv=tuple(redis.argv(redis.server_binary(), data, env.redis_socket)),
        env=server_environment(),
        log=env.log_dir / "redis.log",
        cwd=data,
        ready=socket_answers(env.redis_socket),
    )


def worker_arguments(hostname: str, queue: str, log_level: str) -> tuple[str, ...]:
    """How a Celery worker takes one queue's wake-ups: threads in one process, which a SIGKILL ends together."""
    return (
        "worker", "--pool", "threads", "--concurrency", str(WORKER_THREADS), "--hostname", hostname, "--queues", queue,
        "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", log_level,
    )  # fmt: skip


def control_plane_specs(env: Env) -> list[ProcessSpec]:
    """Meter, beat, worker, batches, pool, console, gateway, in start order: the gateway takes requests last and stops first."""
    python = sys.executable
    environment = child_environment(env)

    def spec(
        name: str, *argv: str, ready: Callable[[], bool] | None = None, stop_timeout_s: float = 5.0
    ) -> ProcessSpec:
        return ProcessSpec(
            name=name, argv=(python, *argv), env=environment, log=env.log_dir / f"{name}.log", cwd=REPO, ready=ready,
            stop_timeout_s=stop_timeout_s,
        )  # fmt: skip

    console = (
        "-m", "gunicorn", "appliance.wsgi:application", "--bind", f"unix:{env.console_socket}",
        "--workers", str(env.console_workers), "--worker-class", "gthread", "--threads", "4",
        "--graceful-timeout", "3", "--umask", "7", "--forwarded-allow-ips", "*", "--no-control-socket",
        "--config", "python:appliance.console_server",
    )  # fmt: skip
    celery = ("-m", "celery", "--app", "appliance.training.celery")
    worker = (*celery, *worker_arguments("worker@coderack", HOME_QUEUE, env.log_level))
    beat = (
        *celery, "beat", "--schedule", str(env.data_dir / "celery-beat"), "--pidfile", "", "--loglevel", env.log_level,
    )  # fmt: skip
    return [
        spec("meter", "manage.py", "run_meter"),
        spec("beat", *beat),
        spec("worker", *worker, stop_timeout_s=WORKER_STOP_S),
        spec("batches", "manage.py", "run_batches", stop_timeout_s=BATCHES_STOP_S),
        spec("pool", "manage.py", "run_pool", stop_timeout_s=POOL_STOP_S),
        spec("console", *console, ready=socket_answers(env.console_socket), stop_timeout_s=4.0),
        spec(
            "gateway", "-m", "appliance.gateway",
            ready=port_answers(env.host, env.port), stop_timeout_s=GATEWAY_STOP_S,
        ),
    ]  # fmt: skip


def socket_answers(path: Path) -> Callable[[], bool]:
    """Whether somebody accepts connections on a Unix socket."""

    def check() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            return probe.connect_ex(str(path)) == 0

    return check


def port_answers(host: str, port: int) -> Callable[[], bool]:
    """Whether somebody accepts connections on a TCP port."""
    target = reached_at(host)

    def check() -> bool:
        try:
            with socket.create_connection((target, port), timeout=1):
                return True
        except OSError:
            return False

    return check
