"""Fine-tunes as tenants ask for them: checked before anything is queued, then moved by compare-and-set.

Working on them is `attempt`'s; here is what a request may do.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from appliance.audit.record import record
from appliance.fleet import loans
from appliance.fleet.merged import merges
from appliance.fleet.models import Deployment
from appliance.registry.models import Adapter, AdapterState, Alias, ModelVersion
from appliance.tenants.models import ApiKey, Tenant
from appliance.training import events, holes, plan
from appliance.training.errors import JobRefused
from appliance.training.models import Job, StoredFile
from appliance.training.wake import wake_job
from finetune.job import TERMINAL, WORKABLE, JobStatus, may_move
from finetune.train.errors import BadHyperparameter
from finetune.train.hyperparameters import check
from inference.catalog.checkpoint import has_experts
from inference.catalog.errors import CatalogError
from inference.catalog.load import preset

SUFFIX_LENGTH = 64
SEEDS = 2**31
MAX_METADATA = 16
SHARED = "shared_experts."

add_event = events.add_event


def create(
    key: ApiKey,
    *,
    model: str,
    training_file: str,
    validation_file: str | None = None,
    suffix: str | None = None,
    seed: int | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Job:
    """Queue a fine-tune of a served base model on the tenant's own files.

    Raises: JobRefused naming the parameter.
    """
    tenant = key.tenant
    if key.allowed_models is not None and model not in key.allowed_models:
        raise _unknown(model)
    base = _base(model, tenant)
    settings = _hyperparameters(hyperparameters or {})
    holes.check(base, settings)
    if suffix is not None and not 0 < len(suffix) <= SUFFIX_LENGTH:
        raise JobRefused(f"suffix must have 1 to {SUFFIX_LENGTH} characters.", "suffix")
    if seed is not None and not 0 <= seed < SEEDS:
        raise JobRefused(f"seed must be from 0 to {SEEDS - 1}.", "seed")
    with transaction.atomic():
        Tenant.objects.select_for_update().get(pk=tenant.pk)  # two requests at once must not both take the last place
        training = _file(tenant, training_file, "training_file")
        validation = None if validation_file is None else _file(tenant, validation_file, "validation_file")
        _check_room(tenant)
        job = Job.objects.create(
            tenant=tenant, key=key, requested_by=key.created_by, base=base, training_file=training,
            validation_file=validation, suffix=suffix or "", policy=tenant.adapter_policy,
            seed=secrets.randbelow(SEEDS) if seed is None else seed,
            hyperparameters=settings, metadata=_metadata(metadata or {}),
        )  # fmt: skip
        add_event(job.pk, f"fine-tune of {base.name} created")
        transaction.on_commit(lambda: wake_job(job.pk))
        details = {"model": base.name, "training_file": training.pk, "validation_file": validation_file}
        record("job.create", job.pk, tenant=tenant.pk, details=details)
    return job


def _base(name: str, tenant: Tenant) -> ModelVersion:
    deployment = Deployment.objects.filter(running=True, serves=True, name=name).select_related("model", "slot").first()
    allowed = tenant.plan.allowed_models
    if deployment is None and Alias.objects.filter(tenant=tenant, name=name).exists():
        raise JobRefused(f"{name!r} is an alias: name the base model itself.", "model")
    if deployment is None:
        raise _unknown(name)
    if allowed is not None and name not in allowed:
        raise JobRefused(f"The plan does not include {name!r}.", "model", "model_not_allowed")
    targets = lora_targets(deployment.model)
    if not targets or not (merges(deployment) or "--enable-lora" in deployment.flags):
        raise JobRefused(f"{name!r} can't be fine-tuned as it is served here; ask its operator.", "model")
    never = plan.never_fits(deployment.model, targets)
    if never is not None:
        raise JobRefused(f"{name!r}: {never}.", "model", plan.NoMemory.code)
    return deployment.model


def _unknown(name: str) -> JobRefused:
    return JobRefused(f"The model {name!r} does not exist or is not served.", "model", "model_not_found")


def lora_targets(model: ModelVersion) -> tuple[str, ...]:
    """The modules that an adapter of this model may change; none where the catalog knows of none.

    A preset may name experts' shared parts, which a model of the same architecture without experts does not have.
    """
    try:
        targets = preset(model.preset).lora.targets if model.preset else ()
        return tuple(name for name in targets if not name.startswith(SHARED) or has_experts(Path(model.path)))
    except CatalogError:
        return ()


def _file(tenant: Tenant, file_id: str, param: str) -> StoredFile:
    # locked, so that it is not deleted before the job is there
    file = StoredFile.objects.select_for_update().filter(tenant=tenant, pk=file_id, deleted_at=None).first()
    if file is None:
        raise JobRefused(f"There is no file {file_id!r}.", param, "file_not_found")
    if file.purpose != "fine-tune":
        raise JobRefused(f"{file_id} was uploaded for {file.purpose}, not for fine-tune.", param)
    if file.status == StoredFile.Status.ERROR:
        raise JobRefused(f"{file_id} was refused: {file.status_details}", param, "invalid_training_file")
    return file


def _check_room(tenant: Tenant) -> None:
    active = Job.objects.filter(tenant=tenant).exclude(status__in=[status.value for status in TERMINAL]).count()
    if active >= tenant.plan.max_active_jobs:
        raise JobRefused(
            f"The plan runs {tenant.plan.max_active_jobs} fine-tunes at once; wait for one or cancel it.",
            None, "too_many_jobs",
        )  # fmt: skip


def _hyperparameters(asked: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return check(asked)
    except BadHyperparameter as error:
        raise JobRefused(str(error), f"hyperparameters.{error.name}") from None


def _metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    fine = all(isinstance(value, str) and len(key) <= 64 and len(value) <= 512 for key, value in metadata.items())
    if len(metadata) > MAX_METADATA or not fine:
        raise JobRefused("metadata holds at most 16 names of 64 and texts of 512 characters.", "metadata")
    return dict(metadata)


def cancel(job: Job) -> Job:
    """End a job that is not over; whoever works on it stops within seconds.

    Raises: JobRefused when it is over.
    """
    return _move(job, JobStatus.CANCELLED, "cancelled", "job.cancel")


def pause(job: Job) -> Job:
    """Keep a job from being worked on; its last checkpoint is kept.

    Raises: JobRefused when it is over or paused.
    """
    return _move(job, JobStatus.PAUSED, "paused", "job.pause")


def resume(job: Job) -> Job:
    """Put a paused job back into the queue.

    Raises: JobRefused when it is not paused.
    """
    return _move(job, JobStatus.QUEUED, "resumed", "job.resume", only_from=JobStatus.PAUSED)


def _move(job: Job, to: JobStatus, word: str, action: str, only_from: JobStatus | None = None) -> Job:
    with transaction.atomic():
        row = Job.objects.select_for_update().get(pk=job.pk)
        seen = JobStatus(row.status)
        if only_from is not None and seen is not only_from:
            raise JobRefused(f"{row.pk} is not {only_from.value}.", "fine_tuning_job_id")
        if not may_move(seen, to):
            raise JobRefused(f"{row.pk} is {seen.value} and can't be {word}.", "fine_tuning_job_id")
        row.status = to.value
        Job.objects.filter(pk=row.pk).update(status=to.value, **({"finished_at": Now()} if to in TERMINAL else {}))
        add_event(row.pk, f"{word} by request")
        if to is JobStatus.CANCELLED and row.adapter_id is not None:
            Adapter.objects.filter(pk=row.adapter_id, state=AdapterState.CANDIDATE).update(state=AdapterState.REJECTED)
        if to in WORKABLE:
            transaction.on_commit(lambda: wake_job(row.pk))
        else:
            loans.forget(row.pk)
        record(action, row.pk, tenant=row.tenant_id)
    row.refresh_from_db()
    return row
