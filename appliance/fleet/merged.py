"""Which adapters need a merged model, and how far each of them is. Building and serving them is `merging`'s.

An engine that can't apply adapters to its model serves nobody's: the CPU's has no kernels for adapters beside mixtures of
experts and would end at the first request. There an adapter is merged into its base's weights, and an engine of its own
serves the result under the adapter's name. What decides here are values in, a step out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.fleet.models import Deployment, Replica
from appliance.fleet.shortages import shortages_of
from appliance.registry.models import LOADED_STATES, Adapter, AdapterState, MergedModel, ModelVersion
from inference.catalog.checkpoint import needs_merging
from inference.engines import engine_kind

if TYPE_CHECKING:
    from datetime import datetime

OVER = (AdapterState.REJECTED, AdapterState.WITHDRAWN)


class Step(Enum):
    """What is to be done about one adapter."""

    NOTHING = "nothing"
    ASK = "ask"  # note the wish for a merged model
    BUILD = "build"
    SERVE = "serve"
    STOP = "stop"
    REMOVE = "remove"


@dataclass(frozen=True)
class Case:
    """What is known of one adapter. `merges`: None while its base is not served, else whether it needs a merged model."""

    state: AdapterState
    tenant_is_active: bool
    merges: bool | None
    is_asked: bool
    is_built: bool
    is_running: bool
    has_engines: bool
    is_as_wanted: bool  # it runs as its base's deployment is now
    may_try: bool  # no failure so recent that it has to wait


def next_step(case: Case) -> Step:
    """One step towards what should be; the same case again, after it was done, gives another."""
    if not case.is_asked:
        wanted = case.merges and case.state is AdapterState.ACTIVE and case.tenant_is_active
        return Step.ASK if wanted else Step.NOTHING
    if case.state in OVER or case.merges is False:
        if case.is_running:
            return Step.STOP
        return Step.NOTHING if case.has_engines else Step.REMOVE
    if not (case.merges and case.tenant_is_active and case.state in LOADED_STATES):
        return Step.STOP if case.is_running else Step.NOTHING
    if not case.is_built:
        return Step.BUILD if case.may_try else Step.NOTHING
    return Step.NOTHING if case.is_running and case.is_as_wanted else Step.SERVE


def merges(deployment: Deployment) -> bool:
    """Whether a deployment's engines can't apply adapters to their model."""
    return needs_merging(deployment.slot.flavour, Path(deployment.model.path))


def bases_that_merge() -> set[int]:
    """The served model versions whose adapters need merged models."""
    rows = Deployment.objects.filter(running=True, serves=True).select_related("model", "slot")
    return {row.model_id for row in rows if merges(row)}


def serving_of(adapter: Adapter) -> Deployment | None:
    """The deployment that serves an adapter's base."""
    rows = Deployment.objects.select_related("model", "slot")
    return rows.filter(model=adapter.base_id, running=True, serves=True).first()


def deployment_of(row: MergedModel) -> Deployment | None:
    """The deployment of a merged model."""
    if row.version_id is None:
        return None
    return Deployment.objects.select_related("model", "slot").filter(model=row.version_id).first()


def ask_for(adapter: Adapter) -> MergedModel:
    """Have an adapter served by a merged model; the pool builds it and starts an engine. Asked again, nothing happens."""
    return MergedModel.objects.get_or_create(adapter=adapter)[0]


def forget_merged_models() -> None:
    """Of a restored appliance, whose copies were left out: they are built again."""
    versions = list(MergedModel.objects.exclude(version=None).values_list("version", flat=True))
    MergedModel.objects.all().delete()
    Deployment.objects.filter(model__in=versions).delete()
    ModelVersion.objects.filter(pk__in=versions).delete()


@dataclass(frozen=True)
class Standing:
    """Whether an adapter that needs a merged model is served, and what it waits for otherwise."""

    served: bool
    reason: str = ""

    def __str__(self) -> str:
        return "served by a merged model" if self.served else f"not served: {self.reason}"


def standing(adapter: Adapter) -> Standing | None:
    """How an adapter does that needs a merged model; None for all others, and for those that nobody wants served."""
    base = serving_of(adapter)
    if base is None or adapter.state not in LOADED_STATES or not merges(base):
        return None
    row = MergedModel.objects.filter(adapter=adapter).select_related("version").first()
    if row is None:
        return Standing(False, "a merged model has yet to be asked for")
    if row.version is None:
        return Standing(False, _again(row.reason, row.retry_at) if row.reason else "its merged model is being built")
    deployment = deployment_of(row)
    if deployment is None or not deployment.running:
        return Standing(False, row.reason or "its engine is about to be started")
    return _of_engine(deployment)


def _of_engine(deployment: Deployment) -> Standing:
    replica = Replica.objects.filter(deployment=deployment).order_by("index").first()
    if replica is not None and replica.state == "ready":
        return Standing(True)
    if replica is None:
        short = shortages_of(deployment, engine_kind("vllm"))
        return Standing(False, "; ".join(sorted(set(short.values()))) or "its engine waits for a device")
    return Standing(False, f"its engine is {replica.state}{f': {replica.reason}' if replica.reason else ''}")


def _again(reason: str, at: datetime | None) -> str:
    return reason if at is None else f"{reason} (tried again at {at:%H:%M:%S}Z)"
