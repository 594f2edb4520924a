"""The worker's and beat's figures for Prometheus. No label names a tenant, a file or a job."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count, F, Max, Min
from django.db.models.functions import Coalesce
from django.utils import timezone
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric

from appliance.metrics.rows import Figure, Rows
from appliance.training.models import Job
from finetune.job import JobStatus

WORKER = CollectorRegistry()
STARTED = Counter("coderack_worker_attempts_started", "Attempts at fine-tunes begun.", registry=WORKER)
ENDED = Counter(
    "coderack_worker_attempts_ended", "Attempts ended, and how: done, failed, lost, waiting, handed_on or broke_off.",
    ["outcome"], registry=WORKER,
)  # fmt: skip
for _outcome in ("done", "failed", "lost", "waiting", "handed_on", "broke_off"):
    ENDED.labels(_outcome)  # there from the beginning, so that a first one is seen as a rise
RENEWALS_FAILED = Counter(
    "coderack_worker_lease_renewals_failed", "Leases that could not be renewed for a moment.", registry=WORKER
)
LEASES_LOST = Counter("coderack_worker_leases_lost", "Leases that ran out or were taken.", registry=WORKER)
TRAINING = Histogram(
    "coderack_worker_training_seconds", "Trainers' time, from start to adapter or end.", registry=WORKER,
    buckets=(10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600),
)  # fmt: skip
EVALUATION = Histogram(
    "coderack_worker_evaluation_seconds", "Time of one adapter's checks.", registry=WORKER,
    buckets=(10, 30, 60, 120, 300, 900, 3600),
)  # fmt: skip
DATASETS = Counter("coderack_worker_datasets", "Files cleaned: made or failed.", ["outcome"], registry=WORKER)

BEAT = CollectorRegistry()
TICKS = Counter("coderack_beat_ticks", "Sweeps handed to the queue.", registry=BEAT)
LAST_TICK = Gauge("coderack_beat_last_tick_timestamp_seconds", "When the last sweep was handed over.", registry=BEAT)


JOBS = Figure("coderack_worker_jobs", "Fine-tunes by state.", ("state",))
SILENCE = Figure("coderack_worker_job_silence_seconds", "Longest silence of a running fine-tune.")
WAIT = Figure("coderack_worker_job_wait_seconds", "Longest wait of a fine-tune that has not begun.")


def _jobs() -> Iterator[Metric]:
    counts = dict(Job.objects.order_by().values_list("status").annotate(Count("pk")))
    yield JOBS.of(*(((status.value,), counts.get(status.value, 0)) for status in JobStatus))
    running = Job.objects.filter(status=JobStatus.RUNNING.value).annotate(
        said_at=Coalesce(Max("events__created_at"), F("created_at"))
    )
    yield SILENCE.is_(_since(running.aggregate(oldest=Min("said_at"))["oldest"]))
    begun_never = Job.objects.filter(status__in=(JobStatus.VALIDATING.value, JobStatus.QUEUED.value), started_at=None)
    waiting = begun_never.filter(tenant__is_active=True)  # a suspended tenant's wait for nothing of ours
    yield WAIT.is_(_since(waiting.aggregate(oldest=Min("created_at"))["oldest"]))


def _since(moment: datetime | None) -> float:
    return 0.0 if moment is None else max(0.0, (timezone.now() - moment).total_seconds())


WORKER.register(Rows((JOBS, SILENCE, WAIT), _jobs))
