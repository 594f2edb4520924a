"""The console's figures for Prometheus: requests, and what is read from rows for all of the appliance.

Several workers share the counters through prometheus_client's files, whose directory `PROMETHEUS_MULTIPROC_DIR` names. It
must be set before this module is imported: appliance.console_server does that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db.models import Count
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from appliance.audit.models import AuditEntry
from appliance.metrics.rows import Figure, Rows
from appliance.operations.models import AcceptanceRun, Upgrade, UpgradeState, Verdict
from inference.gateway.paths import CONTROL_API
from inference.metrics.family import ProcessFamily
from inference.metrics.page import MetricsPage, serve

PREFIX = "coderack_console_"
API = tuple(address.decode() for address in CONTROL_API)  # with the aliases that have no /v1
REGISTRY = CollectorRegistry()  # of one process; the page adds up those of all workers
REQUESTS = Counter("coderack_console_requests", "Answered requests.", ["part", "status"], registry=REGISTRY)
SECONDS = Histogram(
    "coderack_console_request_seconds", "Time until an answer began.", ["part"], registry=REGISTRY,
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
OPEN = Gauge("coderack_console_open_requests", "Requests at work.", multiprocess_mode="livesum", registry=REGISTRY)


def part(path: str) -> str:
    """Which part of the console an address belongs to."""
    if path.startswith(API):
        return "api"
    return "files" if path.startswith("/static/") else "pages"


def count_requests(answer: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Django's middleware: count a request once its answer begins."""

    def counted(request: HttpRequest) -> HttpResponseBase:
        begin = time.monotonic()
        with OPEN.track_inprogress():
            response = answer(request)
        REQUESTS.labels(part(request.path), f"{response.status_code // 100}xx").inc()
        SECONDS.labels(part(request.path)).observe(time.monotonic() - begin)
        return response

    return counted


UPGRADES = Figure("coderack_upgrades", "Upgrades by state.", ("state",))
UPGRADE_RUNS = Figure("coderack_upgrade_running_seconds", "How long the present upgrade runs; 0: none does.")
ACCEPTED_AT = Figure("coderack_acceptance_timestamp_seconds", "When the last acceptance run ended.", ("model",))
VERDICT = Figure("coderack_acceptance_verdict", "1 for the verdict of the last run.", ("model", "verdict"))
AUDIT_ENTRIES = Figure("coderack_audit_entries", "Number of the audit log's newest entry.")
AUDIT_AGE = Figure("coderack_audit_head_age_seconds", "Age of the audit log's newest entry.")


PROMISED_TPS = Figure("coderack_contract_tokens_per_second", "The contract's throughput.", ("direction",))
PROMISED_TTFT = Figure("coderack_contract_ttft_seconds", "The contract's longest TTFT, at the 99th percentile.")
PROMISED_TPOT = Figure("coderack_contract_tpot_seconds", "The contract's longest TPOT, at the 99th percentile.")


def _contract() -> Iterator[Metric]:
    env = settings.ENV
    yield PROMISED_TPS.of((("input",), env.contract_input_tps), (("output",), env.contract_output_tps))
    yield PROMISED_TTFT.is_(env.contract_ttft_ms / 1000)
    yield PROMISED_TPOT.is_(env.contract_tpot_ms / 1000)


def _operations() -> Iterator[Metric]:
    counts = dict(Upgrade.objects.order_by().values_list("state").annotate(Count("pk")))
    yield UPGRADES.of(*(((state.value,), counts.get(state.value, 0)) for state in UpgradeState))
    running = Upgrade.objects.filter(state=UpgradeState.RUNNING).values_list("started_at", flat=True).first()
    yield UPGRADE_RUNS.is_(_since(running))
    runs = list(AcceptanceRun.objects.order_by("model_name", "-finished_at").distinct("model_name"))
    yield ACCEPTED_AT.of(*(((run.model_name,), run.finished_at.timestamp()) for run in runs))
    yield VERDICT.of(*(((run.model_name, v.value), float(run.verdict == v.value)) for run in runs for v in Verdict))
    number, at = AuditEntry.objects.order_by("-seq").values_list("seq", "at").first() or (0, None)
    yield AUDIT_ENTRIES.is_(number)
    yield AUDIT_AGE.is_(_since(at))


def _since(moment: datetime | None) -> float:
    return 0.0 if moment is None else max(0.0, (timezone.now() - moment).total_seconds())


ROWS = CollectorRegistry()
ROWS.register(Rows((PROMISED_TPS, PROMISED_TTFT, PROMISED_TPOT), _contract))
ROWS.register(Rows((UPGRADES, UPGRADE_RUNS, ACCEPTED_AT, VERDICT, AUDIT_ENTRIES, AUDIT_AGE), _operations))


class Workers(Collector):
    """The console's counters of all workers. What other modules count belongs to other processes and stays out."""

    def collect(self) -> Iterator[Metric]:
        """prometheus_client: the figures."""
        merged = MultiProcessCollector(None).collect()  # type: ignore[no-untyped-call]
        yield from (metric for metric in merged if metric.name.startswith(PREFIX))


def show(metrics_dir: Path) -> MetricsPage | None:
    """Serve the console's page from this worker. The worker that started last serves it; when it dies, the one that takes
    its place does.
    """
    shared = CollectorRegistry()
    shared.register(ProcessFamily(os.getppid()))
    shared.register(Workers())
    return serve(metrics_dir / "console.sock", lambda: generate_latest(shared) + generate_latest(ROWS))
