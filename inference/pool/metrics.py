"""The pool's figures for Prometheus. Labels are bounded: models, states, devices; never an adapter, which names a tenant.

What is there now is one immutable picture that the supervisor exchanges after each plan, so that a scrape never sees half
of one. What happened is counted where it happens.
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inference.devices import DeviceInfo
from inference.pool.attached_store import AttachedRow, AttachedState
from inference.pool.load import Load
from inference.pool.states import ReplicaState
from inference.pool.store import Counters, DesiredDeployment, ReplicaRow

REGISTRY = CollectorRegistry()
ENGINE_STARTS = Counter("coderack_pool_engine_starts", "Engines started.", ["model"], registry=REGISTRY)
ENGINE_FAILURES = Counter(
    "coderack_pool_engine_failures", "Engines that could not start, died or did not work.", ["model"], registry=REGISTRY
)
ENGINE_TOKENS = Counter(
    "coderack_pool_engine_tokens", "Tokens by the engines' own counters.", ["model", "direction"], registry=REGISTRY
)
ADAPTER_LOADS = Counter(
    "coderack_pool_adapter_loads", "Adapters that an engine was to load, and what came of it.", ["outcome"],
    registry=REGISTRY,
)  # fmt: skip
for _outcome in ("loaded", "failed"):
    ADAPTER_LOADS.labels(_outcome)  # there from the beginning, so that a first one is seen as a rise
FAULTS = Counter(
    "coderack_pool_faults", "Steps that failed unforeseen and are tried again.", ["where"], registry=REGISTRY
)
LAST_PLAN = Gauge("coderack_pool_last_plan_timestamp_seconds", "When the pool planned last.", registry=REGISTRY)
DEVICES_READ = Gauge(
    "coderack_pool_devices_read_timestamp_seconds", "When the devices could be read last.", registry=REGISTRY
)
DEVICE_FIGURES = {
    "memory_bytes": "Memory of a device.",
    "memory_used_bytes": "Memory in use on a device.",
    "utilisation_ratio": "How busy a device is.",
    "temperature_celsius": "A device's temperature.",
    "power_watts": "What a device draws.",
    "foreign_processes": "Processes on a device that are not ours.",
}


class Watched(Protocol):
    """What is asked of a keeper."""

    deployment_id: str
    model: str | None

    @property
    def life_id(self) -> str:
        """Which life of an engine it watches."""
        ...

    @property
    def counters(self) -> Counters | None:
        """The engine's counters as last read."""
        ...

    def load(self) -> Load:
        """Throughput and load now."""
        ...


@dataclass(frozen=True)
class Picture:
    """What there is after one plan; by model, and devices by id."""

    wanted: dict[str, int] = field(default_factory=dict)
    replicas: dict[tuple[str, ReplicaState], int] = field(default_factory=dict)
    loads: dict[str, Load] = field(default_factory=dict)
    healthy: dict[str, bool] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    devices: tuple[DeviceInfo, ...] = ()


def picture(
    desired: Sequence[DesiredDeployment],
    rows: Sequence[ReplicaRow],
    devices: Sequence[DeviceInfo],
    leased: set[str],
    keepers: Iterable[Watched],
) -> Picture:
    """Replicas and load added up by model: during an upgrade two deployments have one name."""
    models = {deployment.id: deployment.model for deployment in desired}
    wanted: Count[str] = Count()
    lent = Count(row.deployment_id for row in rows if row.loan is not None)
    for deployment in desired:  # what its operator allowed to be lent is not missing
        wanted[deployment.model] += max(0, deployment.replicas - lent[deployment.id]) if deployment.running else 0
    replicas = Count((models[row.deployment_id], row.state) for row in rows if row.deployment_id in models)
    there = {model for model, count in wanted.items() if count} | {model for model, _ in replicas}
    loads = {model: Load() for model in there}
    for keeper in keepers:
        if keeper.model in loads:
            loads[keeper.model] += keeper.load()
    return Picture(
        {model: wanted[model] for model in there},
        {(model, state): replicas[model, state] for model in there for state in ReplicaState},
        loads,
        {device.id: device.healthy for device in devices},
        {"replica": len({device for row in rows for device in row.devices} - leased), "fine_tune": len(leased)},
        tuple(devices),
    )


def attached_picture(rows: Iterable[AttachedRow]) -> dict[tuple[str, AttachedState], int]:
    """Attached servers by model and state; every state of a model that has any."""
    counts = Count((row.name, row.state) for row in rows)
    return {(name, state): counts[name, state] for name in {name for name, _ in counts} for state in AttachedState}


class Now(Collector):
    """Shows the picture that was taken last."""

    def __init__(self) -> None:
        self.picture = Picture()
        self.attached: dict[tuple[str, AttachedState], int] = {}

    def collect(self) -> Iterator[Metric]:
        """prometheus_client: the figures."""
        now = self.picture
        wanted = GaugeMetricFamily("coderack_pool_replicas_wanted", "Replicas that should run.", labels=["model"])
        replicas = GaugeMetricFamily("coderack_pool_replicas", "Replicas there are.", labels=["model", "state"])
        running = GaugeMetricFamily("coderack_pool_requests_running", "Requests in the engines.", labels=["model"])
        waiting = GaugeMetricFamily("coderack_pool_requests_waiting", "Requests in engines' queues.", labels=["model"])
        kv_usage = GaugeMetricFamily("coderack_pool_kv_usage_ratio", "Fullest engine's KV cache.", labels=["model"])
        healthy = GaugeMetricFamily("coderack_pool_device_healthy", "1 when it can be used.", labels=["device"])
        held = GaugeMetricFamily("coderack_pool_devices_held", "Devices with an owner.", labels=["holder"])
        for model, count in now.wanted.items():
            wanted.add_metric([model], count)
        for (model, state), count in now.replicas.items():
            replicas.add_metric([model, state.value], count)
        for model, load in now.loads.items():
            running.add_metric([model], load.running)
            waiting.add_metric([model], load.waiting)
            kv_usage.add_metric([model], load.kv_usage)
        for device, is_healthy in now.healthy.items():
            healthy.add_metric([device], float(is_healthy))
        for holder, count in now.held.items():
            held.add_metric([holder], count)
        attached = GaugeMetricFamily("coderack_pool_attached", "Attached servers.", labels=["model", "state"])
        for (model, attached_state), count in self.attached.items():
            attached.add_metric([model, attached_state.value], count)
        yield from (attached, wanted, replicas, running, waiting, kv_usage, healthy, held)
        yield from _device_figures(now.devices)


def _device_figures(devices: Sequence[DeviceInfo]) -> Iterator[Metric]:
    """What the devices tell; a figure that one does not tell is left out."""
    for name, meaning in DEVICE_FIGURES.items():
        family = GaugeMetricFamily(f"coderack_pool_device_{name}", meaning, labels=["device", "kind"])
        for device in devices:
            value = {
                "memory_bytes": device.memory_bytes,
                "memory_used_bytes": device.memory_used_bytes,
                "utilisation_ratio": device.utilisation,
                "temperature_celsius": device.temperature_c,
                "power_watts": device.power_w,
                "foreign_processes": len(device.foreign),
            }[name]
            if value is not None:
                family.add_metric([device.id, device.kind], float(value))
        yield family


class TokenSum:
    """Adds what engines' counters rose by to sums that never fall, however engines come and go."""

    def __init__(self) -> None:
        self._seen: dict[str, Counters] = {}

    def add(self, keepers: Iterable[Watched]) -> None:
        """Take in the last readings. An engine seen for the first time begins at its present figure: it may be an
        adopted one, whose past was counted before.
        """
        seen: dict[str, Counters] = {}
        for keeper in keepers:
            counters = keeper.counters
            if counters is None or keeper.model is None:
                continue
            before = self._seen.get(keeper.life_id, counters)
            for direction, rise in (
                ("input", counters.prompt_tokens - before.prompt_tokens),
                ("output", counters.generation_tokens - before.generation_tokens),
            ):
                ENGINE_TOKENS.labels(keeper.model, direction).inc(max(0, rise))
            seen[keeper.life_id] = counters
        self._seen = seen


NOW = Now()
REGISTRY.register(NOW)
