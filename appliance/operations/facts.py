"""The facts that ops.upgrade.preflight decides by: rows, devices, the disk, and what the bundle says."""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from pathlib import Path

from django.conf import settings

from appliance.fleet import leases
from appliance.fleet.models import Deployment, Device, Replica
from appliance.operations.alone import holder
from appliance.operations.models import Upgrade, UpgradeState
from appliance.registry.models import Adapter, AdapterState, ModelVersion
from appliance.tenants.models import SYSTEM_TENANT, Plan
from appliance.training.models import Job
from finetune.job import TERMINAL, WORKABLE
from inference.catalog.load import catalog
from ops.bundle.verify import Bundle
from ops.upgrade.preflight import Machine, Offer, Served


def lock_path() -> Path:
    """The lock of whoever applies an upgrade."""
    return Path(settings.ENV.data_dir) / "upgrade.lock"


def serving(name: str) -> Deployment | None:
    """The deployment that serves a name."""
    rows = Deployment.objects.select_related("model", "slot")
    return rows.filter(name=name, running=True, serves=True).first()


def served(name: str) -> Served | None:
    """The version that serves a name, and how well."""
    row = serving(name)
    if row is None:
        return None
    ready = Replica.objects.filter(deployment=row, state="ready").exclude(life=None).count()
    return Served(
        row.model.digest, row.replicas, ready, row.devices_each, row.max_model_len, row.model.fim, row.slot.flavour,
        row.slot.engine_version,
    )  # fmt: skip


def offer(bundle: Bundle) -> Offer:
    """What a verified bundle brings, and what of it the disk still has to take."""
    said, needs = bundle.about, bundle.about.requirements
    whole = Offer(
        said.name, said.digest, said.max_model_len, said.fim, said.preset, needs.engine_flavour, needs.engine_version,
        max(bundle.model_bytes, needs.free_disk_bytes),
    )  # fmt: skip
    return _less_what_is_here(whole)


def offer_of(upgrade: Upgrade) -> Offer:
    """What a planned upgrade brings, as the plan kept it; a rollback's version is here."""
    model = upgrade.to_model
    if upgrade.rollback and model is not None:
        return offer_of_model(model)
    kept = upgrade.steps.get(name="import").detail
    return _less_what_is_here(Offer(**{field.name: kept[field.name] for field in fields(Offer)}))


def offer_of_model(model: ModelVersion) -> Offer:
    """A version that is registered here."""
    return Offer(model.name, model.digest, model.max_model_len, model.fim, model.preset)


def _less_what_is_here(whole: Offer) -> Offer:
    there = (models_dir() / f"{whole.name}-{whole.digest[:12]}").exists()
    return replace(whole, copy_bytes=0) if there else whole


def models_dir() -> Path:
    """Where models are."""
    return Path(settings.ENV.cache_dir) / "models"


def machine(name: str = "", besides: Upgrade | None = None) -> Machine:
    """The devices, the disk, the catalog, and who else is at work; `besides`: the upgrade that asks."""
    devices = list(Device.objects.values_list("healthy", flat=True))
    row = serving(name) if name else None
    open_jobs = Job.objects.filter(status__in=[status.value for status in WORKABLE])
    plan = Plan.objects.filter(tenant=SYSTEM_TENANT).first()
    directory = models_dir()
    return Machine(
        devices=len(devices), healthy=sum(devices), free=len(_free_for(row)), leased=len(leases.leased()),
        models_dir=str(directory), free_bytes=shutil.disk_usage(_existing(directory)).free, presets=frozenset(catalog()),
        running_upgrade=_running(besides),
        verifiable=plan is None or plan.allowed_models is None or not name or name in plan.allowed_models,
        versions_running=Deployment.objects.filter(name=name, running=True).count() if name else 1,
        open_jobs=open_jobs.count(),
        jobs_on_base=0 if row is None else _unfinished_on(row.model),
        adapters=() if row is None else tuple(_adapters_on(row.model)),
    )  # fmt: skip


def _free_for(row: Deployment | None) -> list[str]:
    """The free devices that a second version may have: where the first is pinned, those of its own."""
    return [id_ for id_ in leases.free_devices() if row is None or not row.pinned or id_ in row.pinned]


def _unfinished_on(model: ModelVersion) -> int:
    return Job.objects.filter(base=model).exclude(status__in=[status.value for status in TERMINAL]).count()


def _adapters_on(model: ModelVersion) -> list[tuple[str, str]]:
    rows = Adapter.objects.filter(base=model, state=AdapterState.ACTIVE).order_by("name")
    return list(rows.values_list("name", "tenant_id"))


def _running(besides: Upgrade | None) -> str:
    row = Upgrade.objects.filter(state=UpgradeState.RUNNING).first()
    if row is None or row == besides:
        return ""
    pid = holder(lock_path())
    if pid:
        return f"the upgrade {short(row)} of {row.name} is being applied by pid {pid}"
    return f"the upgrade {short(row)} of {row.name} was interrupted"


def short(upgrade: Upgrade) -> str:
    """The first characters of its id, as people type it."""
    return str(upgrade.pk)[:8]


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
