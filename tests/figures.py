"""Every figure that some process shows, by the name that Prometheus gives it. Django has to be set up before."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics import MetricWrapperBase

OF_EVERY_PROCESS = "process_"


def figures() -> dict[str, tuple[str, ...]]:
    """Names and labels."""
    from appliance.batches import metrics as batches
    from appliance.console import metrics as console
    from appliance.conversations import metrics as conversations
    from appliance.ledger import metrics as meter
    from appliance.training import metrics as training
    from inference.gateway import metrics as gateway
    from inference.pool import metrics as pool
    from ops.runner.metrics import Children, Disks

    runner = CollectorRegistry()
    runner.register(Children([]))
    runner.register(Disks({"data": Path("/")}))
    found: dict[str, tuple[str, ...]] = {}
    registries = (
        batches.REGISTRY,
        console.REGISTRY,
        console.ROWS,
        meter.REGISTRY,
        conversations.REGISTRY,  # the meter's, with the figures of conversations in it
        training.WORKER,
        training.BEAT,
        pool.REGISTRY,
        runner,
    )
    for registry in registries:
        for collector in list(registry._collector_to_names):
            found |= _of(collector)
    for value in (*vars(gateway).values(), gateway.directory_generation()):
        if isinstance(value, MetricWrapperBase):
            found |= _of(value)
    return found


def _of(collector: object) -> dict[str, tuple[str, ...]]:
    if isinstance(collector, MetricWrapperBase):
        name = f"{collector._name}_total" if isinstance(collector, Counter) else collector._name
        return {name: tuple(collector._labelnames)}
    families = list(getattr(collector, "describe", lambda: [])()) or list(collector.collect())  # type: ignore[attr-defined]
    return {
        family.name + ("_total" if isinstance(family, CounterMetricFamily) else ""): tuple(family._labelnames)
        for family in families
    }
