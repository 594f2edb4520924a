"""A running appliance as tests see it: its facts, its CLI, its ledger and its engines, all through the real parts."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from appliance.env import REPO, Env, load

T = TypeVar("T")
CACHE_DIR = Path(os.environ.get("CODERACK_CACHE_DIR", REPO / "var"))
DEMO = "smollm2-135m-instruct"
DATABASE_BACK_S = 30.0


@dataclass
class Appliance:
    """One appliance with its own data directory and port; the cache is shared."""

    data_dir: Path
    port: int
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of its commands: this one's, without settings meant for another appliance."""
        ours = ("CODERACK_", "DJANGO_", "DATABASE_URL", "REDIS_URL")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        return inherited | {
            "CODERACK_DATA_DIR": str(self.data_dir),
            "CODERACK_CACHE_DIR": str(CACHE_DIR),
            "CODERACK_PORT": str(self.port),
            **self.extra,
        }

    @property
    def env(self) -> Env:
        """Its settings, as its own processes read them."""
        return load(self.environ)

    @property
    def facts(self) -> dict[str, Any]:
        """ready.json."""
        return dict(json.loads((self.data_dir / "ready.json").read_text()))

    def cli(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run `coderack` and return what it printed; the caller looks at the exit code."""
        return subprocess.run(
            [sys.executable, "-m", "ops.cli.main", *arguments],
            cwd=REPO,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def cli_json(self, *arguments: str) -> Any:
        """Run `coderack … --json` and return its answer."""
        done = self.cli(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask its database, waiting a while for one that is being started again."""
        deadline = time.monotonic() + DATABASE_BACK_S
        while True:
            try:
                with psycopg.connect(self.env.database_dsn()) as connection:
                    return connection.execute(query, values).fetchall()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def replica(self, model: str = DEMO) -> dict[str, Any]:
        """The first replica of a model with its life: state, pid, socket."""
        rows = self.sql(
            "SELECT r.state, l.pid, l.socket, l.id::text, r.restarts, r.reason FROM fleet_replica r"
            " JOIN fleet_deployment d ON d.id = r.deployment_id JOIN registry_modelversion m ON m.id = d.model_id"
            " LEFT JOIN fleet_enginelife l ON l.id = r.life_id WHERE m.name = %s AND d.running ORDER BY r.index",
            model,
        )
        names = ("state", "pid", "socket", "life", "restarts", "reason")
        return dict(zip(names, rows[0], strict=True)) if rows else {"state": "absent"}

    def wait_ready(self, model: str = DEMO, timeout_s: float = 240) -> dict[str, Any]:
        """Wait until a model's first replica serves."""
        return until(lambda: self.replica(model), lambda r: r["state"] == "ready", timeout_s)

    def request(
        self, method: str, path: str, body: Any = None, key: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One plain HTTP request to the gateway; `body` bytes go as they are, anything else as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        sent = (
            {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}) | (headers or {})
        )
        payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, payload, sent)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def new_tenant(self, name: str) -> str:
        """Create a tenant and return a key of it."""
        made = self.cli("tenant", "create", name)
        assert made.returncode == 0, made.stderr
        return str(self.cli_json("key", "create", name)["key"])

    def child_pid(self, name: str) -> int:
        """The pid of one of the runner's children."""
        rows = json.loads((self.env.run_dir / "processes.json").read_text())
        return next(int(row["pid"]) for row in rows if row["name"] == name)


def until(ask: Callable[[], T], good: Callable[[T], bool], timeout_s: float, period_s: float = 0.05) -> T:
    """Ask again and again until the answer is good.

    Raises: AssertionError with the last answer when the time is over.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer = ask()
        if good(answer):
            return answer
        assert time.monotonic() < deadline, f"not so within {timeout_s} s; the last answer was {answer!r}"
        time.sleep(period_s)


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
