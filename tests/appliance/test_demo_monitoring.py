"""The demo's step about metrics pages and the checker's claim, on rows and pages that agree, and on ones that do not."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from appliance.audit.record import record
from appliance.fleet.models import Deployment, EngineLife, Replica
from appliance.ledger.models import LedgerEntry
from appliance.registry.models import EngineSlot, ModelVersion
from appliance.tenants.models import Plan, Tenant
from appliance.training.models import Job, StoredFile
from inference.gateway.paths import PROCESSES
from ops.cli.demo import monitoring
from ops.cli.demo.walk import Shown, StepFailed, Walk
from ops.cli.demo_check.evidence import Evidence
from ops.cli.demo_check.monitoring import PAGES, shown

MODEL = "tiny-coder"
Pages = dict[str, str]


@pytest.fixture
def rows(db: None) -> EngineLife:
    """A ready replica, two billed requests and one canary, a succeeded fine-tune, an audit entry."""
    now = timezone.now()
    model = ModelVersion.objects.create(name=MODEL, path="/models/tiny", digest="ab" * 32, max_model_len=2048)
    slot = EngineSlot.objects.create(name="cpu", flavour="cpu", engine_version="1", path="/slot", digest="cd" * 32)
    deployment = Deployment.objects.create(model=model, slot=slot, max_model_len=2048)
    replica = Replica.objects.create(deployment=deployment, index=0, state="ready")
    life = EngineLife.objects.create(
        replica=replica,
        model_name=MODEL,
        pid=1,
        pid_started=1,
        socket="/x",
        log="/x",
        started_at=now - timedelta(minutes=9),
    )
    Replica.objects.update(life=life)
    for number, endpoint in enumerate(("chat", "completions", "canary", "chat")):
        LedgerEntry.objects.create(
            request_id=f"req-{number}", tenant_id="acme", model=MODEL, endpoint=endpoint, started_at=now, prompt_tokens=10,
            finished_at=now - (timedelta(hours=1) if number == 3 else timedelta(minutes=1)), cached_tokens=0,
            completion_tokens=4, engine_prompt_tokens=10, outcome="completed", http_status=200,
        )  # fmt: skip
    tenant = Tenant.objects.create(id="acme", name="Acme", plan=Plan.objects.create(name="standard"))
    file = StoredFile.objects.create(tenant=tenant, purpose="fine-tune", filename="x", bytes=1, sha256="ef" * 32)
    Job.objects.create(
        tenant=tenant, base=model, training_file=file, seed=1, policy="auto", status="succeeded", finished_at=now
    )
    with transaction.atomic():
        record("tenant.create", "acme")
    return life


@pytest.fixture
def pages() -> Pages:
    """What the processes show of these rows."""
    now = time.time()
    return {
        "/metrics": f"process_start_time_seconds {now - 600}\n"
        f'coderack_gateway_tokens_total{{model="{MODEL}",direction="input"}} 20\n'
        f'coderack_gateway_tokens_total{{model="{MODEL}",direction="output"}} 8\n',
        "/metrics/batches": "coderack_batches_worked_on 0\n",
        "/metrics/beat": f"coderack_beat_last_tick_timestamp_seconds {now - 3}\n",
        "/metrics/console": "coderack_audit_entries 1\n",
        "/metrics/meter": "coderack_meter_lag_seconds 0.1\n",
        "/metrics/pool": f'coderack_pool_replicas{{model="{MODEL}",state="ready"}} 1\n'
        f'coderack_pool_engine_tokens_total{{model="{MODEL}",direction="output"}} 9\n',
        "/metrics/runner": 'coderack_runner_restarts_total{child="worker"} 1\n',
        "/metrics/worker": 'coderack_worker_jobs{state="succeeded"} 1\n',
    }


class OnAPort(Walk):
    """A walk whose gateway is the test's."""

    port = 0

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)


@pytest.fixture
def walk(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> Iterator[Walk]:
    monkeypatch.setattr(monitoring, "AGREE_S", 0.2)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = pages.get(self.path)
            self.send_response(503 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        it = OnAPort(settings.ENV, lambda line: None, model=MODEL)
        it.port = server.server_port
        yield it
        server.shutdown()


@pytest.fixture
def evidence(db: None) -> Iterator[Evidence]:
    name = connection.settings_dict["NAME"]
    with psycopg.connect(settings.ENV.database_dsn(), dbname=name) as its_own:
        yield Evidence(its_own, settings.ENV.data_dir)


def faults(step: Shown, evidence: Evidence, **edits: Any) -> list[str]:
    """What the checker says of a step, after a report's way through JSON and somebody's edits."""
    measured, told = (json.loads(json.dumps(part)) for part in (step.measured, step.evidence))
    for name, value in edits.items():
        (measured if name in measured else told)[name] = value
    return list(shown(measured, told, evidence))


def test_pages_that_agree_with_the_rows_are_shown_and_claimed(walk: Walk, rows: EngineLife, evidence: Evidence) -> None:
    step = monitoring.show_every_process(walk)
    assert step.measured["pages"] == PAGES == len(PROCESSES) + 1
    assert (step.measured["input_tokens"], step.measured["output_tokens"]) == (20, 8)
    assert step.evidence["lives"] == [str(rows.pk)]
    assert faults(step, evidence) == []


@pytest.mark.parametrize(
    ("path", "was", "shows", "reason"),
    [
        ("/metrics", "} 20", "} 21", "ledger"),
        ("/metrics/pool", 'ready"} 1', 'ready"} 2', "replicas"),
        ("/metrics/pool", "} 9", "} 0", "no token"),
        ("/metrics/worker", "} 1", "} 0", "fine-tunes"),
        ("/metrics/console", "entries 1", "entries 2", "audit"),
        ("/metrics/runner", "} 1", "} 0", "new start"),
        ("/metrics/meter", "0.1", "99", "behind"),
    ],
)
def test_a_page_that_disagrees_fails_the_step(
    walk: Walk, rows: EngineLife, pages: Pages, path: str, was: str, shows: str, reason: str
) -> None:
    assert was in pages[path]
    pages[path] = pages[path].replace(was, shows)
    with pytest.raises(StepFailed, match=reason):
        monitoring.show_every_process(walk)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_without_a_page_fails_the_step(walk: Walk, rows: EngineLife, pages: Pages, name: str) -> None:
    del pages[f"/metrics/{name}"]
    with pytest.raises(StepFailed, match=name):
        monitoring.show_every_process(walk)


@pytest.mark.parametrize(
    ("edit", "value"),
    [
        ("pages", 1),
        ("input_tokens", 21),
        ("output_tokens", 0),
        ("replicas_ready", 2),
        ("fine_tunes_succeeded", 2),
        ("audit_entries", 9),
        ("worker_restarts", 0),
        ("lives", []),
        ("model", "another"),
    ],
)
def test_the_checker_sees_a_report_that_says_something_else(
    walk: Walk, rows: EngineLife, evidence: Evidence, edit: str, value: object
) -> None:
    assert faults(monitoring.show_every_process(walk), evidence, **{edit: value})
