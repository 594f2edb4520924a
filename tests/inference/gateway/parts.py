"""A gateway under a real gunicorn, with what stands around it; the tests' fixtures and the benchmark are made of these."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg

from inference.gateway.fim_tokens import FIM_BEGIN, FIM_END, FIM_HOLE
from inference.metering.journal import UsageRecord, read_records
from tests.fakes.console import Console, ConsoleHandler
from tests.fakes.engine import FakeEngine
from tests.inference.gateway.database import Postgres
from tests.inference.gateway.redis_server import RedisServer
from tests.waiting import wait_until

REPO = Path(__file__).resolve().parents[3]

END = "<\uff5cend\u2581of\u2581sentence\uff5c>"
KEY, OTHER_KEY, SMALL_KEY = "sk-owner", "sk-stranger", "sk-small"


class Rig:
    """Everything a test touches."""

    def __init__(self, root: Path, postgres: Postgres, redis: RedisServer) -> None:
        self.root, self.postgres, self.redis = root, postgres, redis
        self.journal_dir = root / "journal"
        self.console_socket = root / "console.sock"
        self.port = free_port()
        self.engines: dict[str, FakeEngine] = {}
        self.console: Console | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start_console(self) -> None:
        self.console = Console(str(self.console_socket), ConsoleHandler)
        threading.Thread(target=self.console.serve_forever, args=(0.05,), daemon=True).start()

    def stop_console(self) -> None:
        assert self.console is not None
        self.console.shutdown()
        self.console.server_close()
        self.console_socket.unlink()

    def start_engine(
        self, name: str, model: str, *, knows_names: bool = False, max_sequences: int | None = None
    ) -> FakeEngine:
        """An engine of a model; with `knows_names` it answers to that name and to adapters' only."""
        engine = FakeEngine(self.root / f"{name}.sock", model if knows_names else None)
        engine.start()
        self.engines[name] = engine
        self.add_replica(name, model, max_sequences)
        return engine

    def add_replica(self, name: str, model: str, max_sequences: int | None = None) -> None:
        """The engine has a model, or an adapter, loaded; without a number it does not say how much it runs at once."""
        socket = str(self.engines[name].socket)
        self.postgres.execute(
            "INSERT INTO gateway_replicas VALUES (%s, %s, %s, %s, %s)",
            name, f"life-{name}", model, socket, max_sequences,
        )  # fmt: skip

    def start_gateway(self, workers: int = 2) -> None:
        self.process = start_gunicorn(self, self.port, workers)
        wait_until(lambda: healthy(self.port), log=self.root / f"gateway-{self.port}.log")

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(20)
        for engine in self.engines.values():
            engine.stop()
        self.stop_console()

    def connect(self, timeout: float = 20) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own; an object as body is sent as JSON, with the owner's key."""
        connection = self.connect()
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"authorization": f"Bearer {KEY}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        try:
            connection.request(method, path, data, {name: value for name, value in sent.items() if value})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def chat(self, orders: str = "", **fields: Any) -> dict[str, Any]:
        return {"model": "deepseek-fake", "messages": [{"role": "user", "content": orders}], **fields}

    def figure(self, series: str) -> float:
        """A figure of the gateway's metrics page; 0 for one that is not there yet."""
        lines = self.call("GET", "/metrics")[2].decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(series + " ")), 0.0)

    def wait_for_directory(self) -> None:
        """Until every worker knows what the database says now."""
        with psycopg.connect(self.postgres.dsn) as connection:
            row = connection.execute("SELECT value FROM gateway_generation").fetchone()
        assert row is not None
        wait_until(lambda: self.figure("coderack_gateway_directory_generation") >= row[0])

    def records(self) -> list[UsageRecord]:
        found: list[UsageRecord] = []
        for path in sorted(self.journal_dir.glob("*.jsonl")):
            for record in read_records(path)[0]:
                assert isinstance(record, UsageRecord)
                found.append(record)
        return found

    def record(self, request_id: str) -> UsageRecord:
        found: UsageRecord = wait_until(
            lambda: next((one for one in self.records() if one.request_id == request_id), None)
        )
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/healthz")
        return bool(json.loads(connection.getresponse().read())["ready_replicas"])
    except OSError:
        return False
    finally:
        connection.close()


def start_gunicorn(rig: Rig, port: int, workers: int, **settings: float) -> subprocess.Popen[bytes]:
    facts = {
        "port": port,
        "workers": workers,
        "console_socket": str(rig.console_socket),
        "dsn": rig.postgres.dsn,
        "redis": rig.redis.url,
        "journal": str(rig.journal_dir),
        "prom": str(rig.root / f"prom-{port}"),
        "extra": {"comment_after_s": 0.5, "stall_timeout_s": 3, "head_timeout_s": 2, **settings},
    }
    environment = {**os.environ, "GATEWAY_TEST": json.dumps(facts), "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-m", "gunicorn", "-c", "python:tests.inference.gateway.served"]
    log = (rig.root / f"gateway-{port}.log").open("wb")
    with log:
        return subprocess.Popen(
            [*command, "tests.inference.gateway.served:settings"], env=environment, cwd=REPO, stdout=log, stderr=log
        )


def write_tokenizer(path: Path, *, marks: tuple[str, ...] = (FIM_BEGIN, FIM_HOLE, FIM_END)) -> None:
    """One token per word, so that counts can be read off a text, and one for each mark."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, END: 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_tokens([AddedToken(mark, normalized=False, special=False) for mark in marks])
    tokenizer.save(str(path))
    path.with_name("tokenizer_config.json").write_text(json.dumps({"eos_token": END}))
