"""An appliance whose load is accepted: rows, a gateway that books what it answers, an engine as far as its counters go."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from tokenizers import Tokenizer, models, pre_tokenizers

from appliance.env import Env
from appliance.first_rows import ensure_base, register_model, register_slot
from appliance.fleet.models import Deployment, Device, EngineLife, Replica
from appliance.ledger.models import LedgerEntry
from appliance.operations import acceptance, acceptance_facts, acceptance_run
from appliance.operations.models import AcceptanceRun
from appliance.tenants.models import ApiKey
from ops.acceptance import workload
from ops.acceptance.workload import Target, Workload
from tests.ops.acceptance.gateway import Behaviour, FakeGateway

WORK = Workload("tiny", 40, 10, 2, 1.0, 0.2, 7)
TARGET = Target(5.0, 2.0)


class MetricsPage(socketserver.ThreadingUnixStreamServer):
    """The engine's socket, as far as its counters go."""

    daemon_threads = True

    def __init__(self, path: str, box: Box) -> None:
        self.box = box
        super().__init__(path, _Page)


class _Page(BaseHTTPRequestHandler):
    server: MetricsPage

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        box = self.server.box
        with box.rows:
            text = (
                f"vllm:prompt_tokens_total {box.prompt_tokens}\nvllm:generation_tokens_total {box.generation_tokens}\n"
                f"vllm:num_requests_running {box.running}\n"
            )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())


class Box:
    """A box with one engine: its rows, its gateway, its counters."""

    def __init__(self, tmp_path: Path) -> None:
        self.data_dir = tmp_path / "data"
        self.data_dir.mkdir()
        self.socket = str(tmp_path / "e.sock")
        ensure_base()
        slot = register_slot("cpu-test", "cpu", "0.32.0", tmp_path, "e" * 64)
        model = register_model("tiny", self._weights(tmp_path / "tiny"), "d" * 64, "", 4096, False)
        self.deployment = Deployment.objects.create(
            model=model, slot=slot, max_model_len=256, flags=["--max-num-seqs", "8"]
        )
        Device.objects.create(id="cpu:0", kind="cpu", name="A CPU", memory_bytes=2**33, seen_at=timezone.now())
        self.replica = Replica.objects.create(deployment=self.deployment, index=0, state="ready", devices=["cpu:0"])
        self.life = self.begin_life()
        self.prompt_tokens, self.generation_tokens, self.running = 1000, 100, 0
        self.ledger_says = lambda tokens: tokens
        self.gateway = FakeGateway(Behaviour(settled=self._settle))
        self.rows = threading.Lock()
        self.meanwhile: Callable[[], object] | None = None
        self._engine = MetricsPage(self.socket, self)
        threading.Thread(target=self._engine.serve_forever, args=(0.05,), daemon=True).start()

    def begin_life(self) -> EngineLife:
        life = EngineLife.objects.create(
            replica=self.replica,
            model_name="tiny",
            pid=1,
            pid_started=1,
            socket=self.socket,
            log="l",
            started_at=timezone.now(),
        )
        Replica.objects.filter(pk=self.replica.pk).update(life=life)
        return life

    @staticmethod
    def _weights(path: Path) -> Path:
        path.mkdir()
        tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.save(str(path / "tokenizer.json"))
        return path

    def _settle(self, request_id: str, prompt: int, completion: int) -> None:
        with self.rows:
            self.prompt_tokens += prompt
            self.generation_tokens += completion
            if self.meanwhile:
                self.meanwhile()
                self.meanwhile = None
            now = datetime.now(UTC)
            LedgerEntry.objects.create(
                request_id=request_id, tenant_id="system", key_id=ApiKey.objects.latest("created_at").pk, model="tiny",
                endpoint="completions", life_id=self.life.pk, started_at=now - timedelta(seconds=0.01), finished_at=now,
                prompt_tokens=prompt, cached_tokens=self.gateway.behaviour.cached_tokens,
                completion_tokens=self.ledger_says(completion), engine_prompt_tokens=prompt, outcome="completed",
                http_status=200,
            )  # fmt: skip
            connection.close()

    @property
    def env(self) -> Env:
        return replace(settings.ENV, data_dir=self.data_dir, host="127.0.0.1", port=self.gateway.port)

    def run(self, work: Workload = WORK, target: Target = TARGET) -> AcceptanceRun:
        return acceptance.run(self.env, acceptance.Asked(work, target), lambda line: None)

    def close(self) -> None:
        self._engine.shutdown()
        self._engine.server_close()
        self.gateway.close()


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    monkeypatch.setattr(workload, "MIN_DURATION_S", 0.5)
    monkeypatch.setattr(acceptance_run, "OTHER_WORKERS_S", 0.0)
    monkeypatch.setattr(acceptance_run, "IDLE_S", 60.0)
    monkeypatch.setattr(acceptance_run, "BOOKS_POLL_S", 0.1)
    monkeypatch.setattr(acceptance_facts, "POLL_S", 0.1)
    monkeypatch.setattr(acceptance_run, "BOOKS_S", 5.0)
    made = Box(tmp_path)
    monkeypatch.setattr(settings, "ENV", made.env)
    yield made
    made.close()


def certificate(row: AcceptanceRun) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(acceptance.certificate_file(row, "certificate.json").read_bytes())
    return facts
