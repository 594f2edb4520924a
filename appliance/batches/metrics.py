"""The batches' process in figures for Prometheus. No label names a tenant, a model or a batch."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Count
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import Metric

from appliance.batches.models import Batch
from appliance.batches.states import BatchStatus
from appliance.metrics.rows import Figure, Rows

REGISTRY = CollectorRegistry()
LINES = Counter("coderack_batches_lines", "Lines that are done: completed or failed.", ["outcome"], registry=REGISTRY)
AGAIN = Counter("coderack_batches_again", "Requests to be sent again, and why.", ["reason"], registry=REGISTRY)
for _outcome in ("completed", "failed"):
    LINES.labels(_outcome)  # there from the beginning, so that a first one is seen as a rise
for _reason in ("busy", "fault", "key", "lost", "unreachable"):
    AGAIN.labels(_reason)
IN_FLIGHT = Gauge("coderack_batches_in_flight", "Requests at the gateway now.", registry=REGISTRY)
WORKED_ON = Gauge("coderack_batches_worked_on", "Batches that this process works on.", registry=REGISTRY)
DISK_WAITS = Counter("coderack_batches_disk_waits", "Results that the disk had no room for, kept.", registry=REGISTRY)
FAULTS = Counter("coderack_batches_faults", "Work that ended unforeseen and is taken up again.", registry=REGISTRY)
LAST_PASS = Gauge("coderack_batches_last_pass_timestamp_seconds", "When batches were looked for.", registry=REGISTRY)

BATCHES = Figure("coderack_batches", "Batches by state.", ("state",))


def _batches() -> Iterator[Metric]:
    counts = dict(Batch.objects.order_by().values_list("status").annotate(Count("pk")))
    yield BATCHES.of(*(((status.value,), counts.get(status.value, 0)) for status in BatchStatus))


REGISTRY.register(Rows((BATCHES,), _batches))
