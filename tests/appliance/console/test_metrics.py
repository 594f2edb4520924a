"""The console's figures: a real gunicorn with two workers adds its requests up, and rows of operations are shown."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from appliance.audit.record import record
from appliance.console import metrics
from appliance.env import REPO
from appliance.fleet.models import Deployment
from appliance.operations.models import AcceptanceRun, Upgrade, UpgradeState, Verdict
from tests.appliance.conftest import ENVIRONMENT
from tests.inference.metrics.test_page import ask
from tests.waiting import wait_until


def rows() -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for read in (metrics._contract, metrics._operations)
        for metric in read()
        for sample in metric.samples
    }


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/", "pages"),
        ("/v1/files", "api"),
        ("/user/balance", "api"),
        ("/files", "api"),
        ("/fine_tuning/jobs", "api"),
        ("/fine-tuning/", "pages"),
        ("/organization/costs", "api"),
        ("/static/console/console.css", "files"),
        ("/v1", "pages"),
    ],
)
def test_an_address_belongs_to_one_part(path: str, part: str) -> None:
    assert metrics.part(path) == part


@pytest.mark.usefixtures("db")
def test_an_appliance_without_history_shows_zeros_and_its_contract() -> None:
    found = rows()
    assert found["coderack_upgrades", "failed"] == found["coderack_upgrade_running_seconds",] == 0
    assert found["coderack_audit_entries",] == 0
    assert found["coderack_contract_tokens_per_second", "output"] == settings.ENV.contract_output_tps
    assert found["coderack_contract_ttft_seconds",] == settings.ENV.contract_ttft_ms / 1000


def test_a_running_upgrade_shows_for_how_long_and_the_last_acceptance_counts(deployment: Deployment) -> None:
    now = timezone.now()
    Upgrade.objects.create(
        name="tiny-coder", digest="ab", strategy="beside", state=UpgradeState.RUNNING, from_model=deployment.model,
        created_by="cli:root", started_at=now - timedelta(minutes=10),
    )  # fmt: skip
    for age, verdict in ((2, Verdict.MET), (1, Verdict.NOT_MET)):
        ended = now - timedelta(hours=age)
        AcceptanceRun.objects.create(
            model_name="tiny-coder", model_digest="ab", started_at=ended, finished_at=ended, target_input_tps=1,
            target_output_tps=1, input_tps=1, output_tps=1, requests=1, failed_requests=0, verdict=verdict, folder="/x",
            certificate_digest="cd", created_by="cli:root",
        )  # fmt: skip
    with transaction.atomic():
        record("tenant.create", "acme")
    found = rows()
    assert found["coderack_upgrades", "running"] == 1
    assert found["coderack_upgrade_running_seconds",] == pytest.approx(600, abs=60)
    assert found["coderack_acceptance_verdict", "tiny-coder", "not_met"] == 1
    assert found["coderack_acceptance_verdict", "tiny-coder", "met"] == 0
    assert found["coderack_acceptance_timestamp_seconds", "tiny-coder"] == pytest.approx(time.time() - 3600, abs=60)
    assert found["coderack_audit_entries",] == 1


class Gunicorn:
    """The console under gunicorn as the runner starts it, on sockets in a run directory of its own."""

    def __init__(self, run_dir: Path) -> None:
        self.page, self.socket = run_dir / "metrics" / "console.sock", run_dir / "console.sock"
        environment = os.environ | ENVIRONMENT | {"CODERACK_RUN_DIR": str(run_dir)}
        command = (
            sys.executable, "-m", "gunicorn", "appliance.wsgi:application", "--bind", f"unix:{self.socket}", "--workers", "2",
            "--worker-class", "gthread", "--no-control-socket", "--config", "python:appliance.console_server",
        )  # fmt: skip
        with (run_dir / "log").open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, cwd=REPO, stdout=log, stderr=log)

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def shown(self, pattern: str) -> list[str]:
        try:
            return re.findall(pattern, ask(self.page).decode())
        except OSError:
            return []


@pytest.fixture
def gunicorn() -> Iterator[Gunicorn]:
    with tempfile.TemporaryDirectory(prefix="cm", dir="/tmp") as folder:
        it = Gunicorn(Path(folder))
        yield it
        it.process.terminate()
        it.process.wait(20)


NOT_FOUND = r'coderack_console_requests_total\{part="pages",status="4xx"\} (\S+)'


def eventually(gunicorn: Gunicorn, look: Callable[[], bool]) -> None:
    wait_until(look, log=gunicorn.page.parents[1] / "log")


def test_requests_of_all_workers_are_one_sum_that_outlives_a_worker(gunicorn: Gunicorn) -> None:
    eventually(gunicorn, lambda: gunicorn.page.exists() and len(gunicorn.workers()) == 2)
    for _ in range(20):
        assert b" 400 " in ask(gunicorn.socket, b"GET /nowhere HTTP/1.0\r\nHost: elsewhere\r\n\r\n", 60)
    eventually(gunicorn, lambda: gunicorn.shown(NOT_FOUND) == ["20.0"])
    before = gunicorn.workers()
    os.kill(before[-1], signal.SIGKILL)  # the one that started last serves the page
    eventually(gunicorn, lambda: len(gunicorn.workers()) == 2 and gunicorn.workers() != before)
    eventually(gunicorn, lambda: gunicorn.shown(NOT_FOUND) == ["20.0"])
    assert gunicorn.shown(r"(?m)^coderack_console_open_requests (\S+)") == ["0.0"]


def test_the_page_has_no_other_processes_figures(gunicorn: Gunicorn) -> None:
    eventually(gunicorn, lambda: bool(gunicorn.shown("process_resident_memory_bytes")))
    assert not gunicorn.shown("coderack_(?:worker|meter|pool|beat|gateway)_")
