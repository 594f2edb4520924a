"""Acceptance runs end to end: rows, a load over real HTTP, the ledger, the counters, the certificate, the command line.

The gateway is a stand-in that books what it answers as the meter and the pool would; the real one runs in the demo.
"""

from __future__ import annotations

import fcntl
import json
import socketserver
import threading
import uuid
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
from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.env import Env
from appliance.first_rows import ensure_base, register_model, register_slot
from appliance.fleet.models import Deployment, Device, EngineLife, Replica
from appliance.ledger.models import LedgerEntry
from appliance.operations import acceptance, acceptance_facts, acceptance_run
from appliance.operations.models import AcceptanceRun, Verdict
from appliance.tenants.keys import mint
from appliance.tenants.models import ApiKey, Plan, Tenant
from ops.acceptance import workload
from ops.acceptance.errors import BadWorkload, CannotRun
from ops.acceptance.signing import load_public
from ops.acceptance.verify import verify
from ops.acceptance.workload import Target, Workload
from ops.cli import acceptance as cli
from tests.ops.acceptance.gateway import Behaviour, FakeGateway

pytestmark = pytest.mark.usefixtures("db")
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


def test_a_run_is_measured_booked_signed_and_kept(box: Box) -> None:
    row = box.run()
    assert (row.verdict, row.reasons, row.failed_requests) == (Verdict.MET, [], 0)
    assert row.requests == box.gateway.behaviour.num_requests == LedgerEntry.objects.count()
    facts = verify(Path(row.folder), load_public(box.data_dir / "acceptance/keys/public.pem")).facts
    assert (facts["id"], facts["measured"]["output_tps"]) == (str(row.pk), row.output_tps)
    (life,) = facts["evidence"]["lives"]
    assert life["after"]["prompt_tokens"] - life["before"]["prompt_tokens"] == 40 * row.requests
    assert facts["box"]["devices"] == [
        {"id": "cpu:0", "kind": "cpu", "name": "A CPU", "memory_bytes": 2**33, "used": True}
    ]


def test_a_run_leaves_an_entry_in_the_audit_log_and_no_key_that_works(box: Box) -> None:
    row = box.run()
    entry = AuditEntry.objects.get(action="acceptance.run")
    assert entry.details["certificate"] == row.certificate_digest
    (key,) = ApiKey.objects.filter(tenant_id="system")
    assert key.internal
    assert key.revoked_at is not None
    assert key.expires_at is not None


def test_a_missed_target_is_not_met_and_kept_all_the_same(box: Box) -> None:
    row = box.run(target=Target(5.0, 1e6))
    assert row.verdict == Verdict.NOT_MET
    assert certificate(row)["reasons"] == row.reasons


def test_a_ledger_that_books_other_tokens_makes_it_void(box: Box) -> None:
    box.ledger_says = lambda tokens: tokens - 1
    row = box.run()
    assert row.verdict == Verdict.VOID
    assert any("disagree" in reason for reason in row.reasons)
    assert any("counters rose by" in reason for reason in row.reasons)


def test_tokens_that_no_ledger_books_make_it_void(box: Box) -> None:
    def somebody_else() -> None:
        box.generation_tokens += 1

    box.meanwhile = somebody_else
    row = box.run()
    assert row.verdict == Verdict.VOID
    (reason,) = row.reasons
    assert "counters rose by" in reason


def test_an_engine_that_was_started_anew_makes_it_void(box: Box) -> None:
    box.meanwhile = box.begin_life
    row = box.run()
    assert row.verdict == Verdict.VOID
    assert any("not those that served at the beginning" in reason for reason in row.reasons)


def test_a_cache_that_was_not_declared_makes_it_void(box: Box) -> None:
    box.gateway.behaviour.cached_tokens = 16
    row = box.run()
    assert row.verdict == Verdict.VOID
    assert any("prefix cache" in reason for reason in row.reasons)


def test_failed_requests_are_no_success(box: Box) -> None:
    box.gateway.behaviour.fail_each = 2
    row = box.run()
    assert row.verdict == Verdict.NOT_MET
    assert row.failed_requests > 0


def test_a_second_run_at_once_is_refused(box: Box) -> None:
    root = box.data_dir / "acceptance"
    root.mkdir()
    with (root / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CannotRun, match="another acceptance run"):
            box.run()


def test_what_a_killed_run_left_is_cleared_by_the_next(box: Box) -> None:
    left, _ = mint(Tenant.objects.get(pk="system"), acceptance_run.KEY_NAME, internal=True)
    half = box.data_dir / "acceptance" / f".new-{uuid.uuid4()}"
    half.mkdir(parents=True)
    box.run()
    assert not half.exists()
    assert ApiKey.objects.get(pk=left.pk).revoked_at is not None


def test_a_run_whose_books_fail_keeps_nothing(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fresh: Path) -> Path:
        raise OSError(28, "No space left on device", str(fresh))

    monkeypatch.setattr("ops.acceptance.folder.publish", full)
    with pytest.raises(OSError, match="No space"):
        box.run()
    assert not AcceptanceRun.objects.exists()
    assert not list((box.data_dir / "acceptance").glob(".new-*"))
    assert not AuditEntry.objects.filter(action="acceptance.run").exists()


def test_engines_that_others_use_are_not_measured(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.running = 1
    monkeypatch.setattr(acceptance_run, "IDLE_S", 1.0)
    with pytest.raises(CannotRun, match="not idle"):
        box.run()
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": "absent"}, "no model 'absent' is served; there are: tiny"),
        ({"concurrency": 9}, "the engines run 8"),
        ({"input_tokens": 250}, "256 are served"),
        ({"duration_s": 0.1}, "a window of 0.1 s"),
    ],
)
def test_what_can_not_be_run_is_refused_before_anything_is_asked(box: Box, change: dict[str, Any], told: str) -> None:
    with pytest.raises((CannotRun, BadWorkload)) as refused:
        box.run(replace(WORK, **change))
    assert told in str(refused.value)
    assert box.gateway.behaviour.num_requests == 0


def test_a_replica_that_is_not_ready_refuses_a_run(box: Box) -> None:
    Replica.objects.update(state="loading")
    with pytest.raises(CannotRun, match="0 of 1 replicas of tiny are ready"):
        box.run()


def test_a_plan_without_the_model_refuses_a_run(box: Box) -> None:
    Plan.objects.update(allowed_models=["other"])
    with pytest.raises(CannotRun, match="leaves tiny out"):
        box.run()


def test_a_file_outside_the_certificates_is_never_given_out(box: Box) -> None:
    row = box.run()
    assert acceptance.certificate_file(row, "certificate.html").is_file()
    for name in ("../keys/signing.pem", "lock", "absent.json"):
        with pytest.raises(FileNotFoundError):
            acceptance.certificate_file(row, name)
    elsewhere = box.data_dir / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "certificate.json").write_text("{}")
    row.folder = str(elsewhere)
    with pytest.raises(FileNotFoundError):
        acceptance.certificate_file(row, "certificate.json")


@pytest.fixture
def command(box: Box, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setattr(cli, "load", lambda: box.env)
    return CliRunner()


RUN = ["run", "--model", "tiny", "--input-tps", "5", "--output-tps", "2", "--duration", "1s", "--warm-up", "0.2s",
       "--concurrency", "2", "--input-tokens", "40", "--output-tokens", "10"]  # fmt: skip


def test_the_command_runs_lists_shows_and_verifies(box: Box, command: CliRunner, tmp_path: Path) -> None:
    assert command.invoke(cli.app, ["key"]).exit_code == 5
    ran = command.invoke(cli.app, [*RUN, "--json"])
    assert ran.exit_code == 0, ran.output
    facts = json.loads(ran.stdout)
    assert (facts["verdict"], facts["measured"]["failed_requests"]) == ("met", 0)
    (listed,) = json.loads(command.invoke(cli.app, ["list", "--json"]).stdout)
    assert (listed["id"], listed["verdict"]) == (facts["id"], "met")
    assert json.loads(command.invoke(cli.app, ["show", facts["id"][:8], "--json"]).stdout) == facts
    key = tmp_path / "public.pem"
    key.write_text(command.invoke(cli.app, ["key"]).stdout)
    assert command.invoke(cli.app, ["verify", facts["folder"]]).exit_code == 0
    assert command.invoke(cli.app, ["verify", facts["folder"], "--key", str(key)]).exit_code == 0


def test_the_command_fails_where_the_target_is_missed_or_the_certificate_changed(box: Box, command: CliRunner) -> None:
    missed = command.invoke(cli.app, [*RUN, "--tpot-ms", "0.001", "--json"])
    assert missed.exit_code == 1
    folder = Path(json.loads(missed.stdout)["folder"])
    page = folder / "certificate.html"
    page.write_text(page.read_text().replace("not met", "met"))
    refused = command.invoke(cli.app, ["verify", str(page)])
    assert refused.exit_code == 1
    assert "certificate.html: was changed" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([*RUN[:-1], "abc"], 2, "valid integer"),
        ([*RUN, "--duration", "soon"], 2, "60s, 10m or 1h"),
        ([*RUN, "--concurrency", "9"], 2, "the engines run 8"),
        ([*RUN, "--model", "absent"], 1, "no model 'absent'"),
        (["show", "abc"], 5, "coderack acceptance list"),
        (["verify", "/nowhere"], 5, "/nowhere is not there"),
    ],
)
def test_bad_input_is_told_and_ends_with_its_code(
    command: CliRunner, arguments: list[str], code: int, told: str
) -> None:
    done = command.invoke(cli.app, arguments)
    assert (done.exit_code, told in done.stderr) == (code, True), done.stderr
