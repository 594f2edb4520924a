"""Every process's metrics page, and figures of each beside the rows they should agree with."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from django.db.models import Max, Sum
from prometheus_client.parser import text_string_to_metric_families

from appliance.audit.models import AuditEntry
from appliance.fleet.models import Replica
from appliance.ledger.models import LedgerEntry
from appliance.training.models import Job
from finetune.job import JobStatus
from inference.gateway.paths import PROCESSES
from inference.pool.states import ReplicaState
from ops.cli.demo.walk import Shown, StepFailed, Walk, digest, found

AGREE_S = 20.0
BEAT_S = 30.0
LAG_S = 10.0
OF_THE_GATEWAY = ("chat", "completions")
Page = dict[str, float]


def show_every_process(walk: Walk) -> Shown:
    """Each page answers; tokens, replicas, fine-tunes and audit entries on them are those of the rows."""
    pages = {name: _page(walk, f"/metrics/{name}") for name in PROCESSES}
    model = walk.model
    started_at = _page(walk, "/metrics")["process_start_time_seconds"]
    billed = found(lambda: _agreed_tokens(walk, started_at), AGREE_S, "the gateway's tokens are not the ledger's")
    lives = found(lambda: _agreed_replicas(walk), AGREE_S, "the pool's ready replicas are not the rows'")
    jobs = found(lambda: _agreed_jobs(walk), AGREE_S, "the worker's fine-tunes are not the rows'")
    audit = found(lambda: _agreed_audit(walk), AGREE_S, "the console's audit entries are not the rows'")
    measured = {
        "pages": len(pages) + 1, **billed, "replicas_ready": len(lives), "fine_tunes_succeeded": jobs,
        "audit_entries": audit, "worker_restarts": int(pages["runner"]['coderack_runner_restarts_total{"worker"}']),
        "journal_lag_s": round(pages["meter"]["coderack_meter_lag_seconds"], 3),
        "last_sweep_s_ago": round(time.time() - pages["beat"]["coderack_beat_last_tick_timestamp_seconds"], 1),
        "engine_output_tokens": int(pages["pool"].get(f'coderack_pool_engine_tokens_total{{"output","{model}"}}', 0)),
    }  # fmt: skip
    if measured["worker_restarts"] < 1:
        raise StepFailed("the runner does not count the worker's new start")
    if measured["journal_lag_s"] > LAG_S or measured["last_sweep_s_ago"] > BEAT_S:
        raise StepFailed(f"the meter is behind or beat silent: {measured}")
    if measured["engine_output_tokens"] < 1:
        raise StepFailed("the pool shows no token of the engine")
    evidence = {"gateway_started_at": started_at, "taken_at": time.time(), "lives": lives, "model": model}
    return Shown(digest(",".join(sorted(pages))), measured, evidence)


def _page(walk: Walk, path: str) -> Page:
    """A page's samples, by name and label values in the order of the labels' names: `name` or `name{"value","value"}`."""
    connection = walk.connection()
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 200:
        raise StepFailed(f"{path} answers {answer.status}: {text[:200]}")
    page: Page = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            page[_name(sample.name, sample.labels)] = sample.value
    return page


def _name(name: str, labels: dict[str, str]) -> str:
    return name + ("{" + ",".join(f'"{labels[label]}"' for label in sorted(labels)) + "}" if labels else "")


def _total(page: Page, name: str, last: str) -> int:
    """All models together."""
    return int(sum(v for key, v in page.items() if key.startswith(f"{name}{{") and f'"{last}"' in key))


def _agreed_tokens(walk: Walk, started_at: float) -> dict[str, int] | None:
    """What the gateway has settled since it began, once the ledger says the same."""
    page = _page(walk, "/metrics")
    shown = {
        "input_tokens": _total(page, "coderack_gateway_tokens_total", "input"),
        "output_tokens": _total(page, "coderack_gateway_tokens_total", "output"),
    }
    since = datetime.fromtimestamp(started_at, UTC)
    booked: dict[str, Any] = LedgerEntry.objects.filter(endpoint__in=OF_THE_GATEWAY, finished_at__gte=since).aggregate(
        input_tokens=Sum("prompt_tokens"), output_tokens=Sum("completion_tokens")
    )
    return shown if booked == shown else None


def _agreed_replicas(walk: Walk) -> list[str]:
    """The lives of the model's ready replicas, when there are as many as the pool says."""
    rows = Replica.objects.filter(deployment__name=walk.model, state=ReplicaState.READY.value, life__isnull=False)
    lives = [str(life) for life in rows.values_list("life_id", flat=True)]
    shown = _page(walk, "/metrics/pool").get(f'coderack_pool_replicas{{"{walk.model}","ready"}}')
    return lives if shown == len(lives) else []


def _agreed_jobs(walk: Walk) -> int:
    count = Job.objects.filter(status=JobStatus.SUCCEEDED.value).count()
    return count if _page(walk, "/metrics/worker").get('coderack_worker_jobs{"succeeded"}') == count else 0


def _agreed_audit(walk: Walk) -> int:
    newest = AuditEntry.objects.aggregate(newest=Max("seq"))["newest"] or 0
    return newest if _page(walk, "/metrics/console").get("coderack_audit_entries") == newest else 0
