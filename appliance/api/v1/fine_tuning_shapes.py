"""Fine-tuning's objects as OpenAI's clients read them, and the request that begins a job."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.core.exceptions import ObjectDoesNotExist
from ninja import Schema
from pydantic import Field

from appliance.api.v1.files import SignoffShape, unix
from appliance.training import signing
from appliance.training.models import Checkpoint, Job, JobEvent
from finetune.job import JobStatus
from finetune.train.hyperparameters import AUTO, NAMES


class AskedSupervised(Schema):
    """The settings of supervised training; their ranges are checked where they are used."""

    hyperparameters: dict[str, Any] | None = None


class AskedMethod(Schema):
    """How to train: there is one way so far."""

    type: Literal["supervised"]
    supervised: AskedSupervised | None = None


class JobRequest(Schema):
    """The body that begins a job. The older top-level `hyperparameters` count where `method` has none."""

    model: Annotated[str, Field(max_length=200)]
    training_file: Annotated[str, Field(max_length=200)]
    validation_file: Annotated[str, Field(max_length=200)] | None = None
    suffix: str | None = None
    seed: int | None = None
    metadata: dict[str, str] | None = None
    method: AskedMethod | None = None
    hyperparameters: dict[str, Any] | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = None

    def asked(self) -> tuple[dict[str, Any], str]:
        """The hyperparameters, and the path at which they were sent."""
        inner = self.method.supervised.hyperparameters if self.method and self.method.supervised else None
        if inner:
            return inner, "method.supervised.hyperparameters"
        return self.hyperparameters or {}, "hyperparameters"


class Hyperparameters(Schema):
    """Numbers, or "auto" where the appliance chooses."""

    n_epochs: int | str
    batch_size: int | str
    learning_rate_multiplier: float | str
    fim_rate: float | str


class Supervised(Schema):
    """The settings of supervised training."""

    hyperparameters: Hyperparameters


class Method(Schema):
    """How the job trains."""

    type: Literal["supervised"] = "supervised"
    supervised: Supervised


class JobError(Schema):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class Verdict(Schema):
    """What the adapter's checks found."""

    verdict: str
    checks: list[dict[str, Any]]


class Extension(Schema):
    """What OpenAI's object has no place for."""

    policy: str
    adapter_state: str | None
    evaluation: Verdict | None
    plan: dict[str, Any] | None
    signoffs: list[SignoffShape]
    waits_for_signoff: list[str]


class FineTune(Schema):
    """OpenAI's job object; its nullable fields are always there."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    model: str
    created_at: int
    finished_at: int | None
    fine_tuned_model: str | None
    organization_id: str
    result_files: list[str]
    status: str
    trained_tokens: int | None
    training_file: str
    validation_file: str | None
    hyperparameters: Hyperparameters
    method: Method
    seed: int
    estimated_finish: int | None = None
    integrations: list[Any]
    metadata: dict[str, str]
    error: JobError | None
    coderack: Extension


class FineTuneList(Schema):
    """A page of jobs."""

    object: Literal["list"]
    data: list[FineTune]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Event(Schema):
    """One line of a job's story."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: str
    message: str
    type: str
    data: dict[str, Any] | None


class EventList(Schema):
    """A page of events."""

    object: Literal["list"]
    data: list[Event]
    first_id: str | None
    last_id: str | None
    has_more: bool


class CheckpointShape(Schema):
    """A checkpoint. Its model name is an id only: checkpoints are not served."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuning_job_id: str
    fine_tuned_model_checkpoint: str
    step_number: int
    metrics: dict[str, Any]


class CheckpointList(Schema):
    """A page of checkpoints."""

    object: Literal["list"]
    data: list[CheckpointShape]
    first_id: str | None
    last_id: str | None
    has_more: bool


def job_shape(job: Job) -> dict[str, Any]:
    """A job as the API shows it. The model is named once the job has succeeded, approved or not yet."""
    settings = {name: job.hyperparameters.get(name, AUTO) for name in NAMES}
    named = job.status == JobStatus.SUCCEEDED.value and job.adapter is not None
    return {
        "id": job.id, "model": job.base.name, "created_at": unix(job.created_at),
        "finished_at": None if job.finished_at is None else unix(job.finished_at),
        "fine_tuned_model": job.adapter.name if named and job.adapter else None,
        "organization_id": job.tenant_id, "status": job.status, "trained_tokens": job.trained_tokens,
        "training_file": job.training_file_id, "validation_file": job.validation_file_id,
        "hyperparameters": settings, "method": {"supervised": {"hyperparameters": settings}}, "seed": job.seed,
        "metadata": job.metadata, "error": _error(job), "result_files": [], "integrations": [],
        "coderack": _extension(job),
    }  # fmt: skip


def _error(job: Job) -> dict[str, Any] | None:
    if not job.error:
        return None
    return {
        "code": job.error.get("code") or "training_failed", "message": job.error.get("message") or "",
        "param": job.error.get("param"),
    }  # fmt: skip


def _extension(job: Job) -> dict[str, Any]:
    adapter = job.adapter
    evaluation = None
    if adapter is not None:
        try:
            evaluation = {"verdict": adapter.evaluation.verdict, "checks": adapter.evaluation.checks}
        except ObjectDoesNotExist:
            evaluation = None
    return {
        "policy": job.policy, "adapter_state": None if adapter is None else adapter.state, "evaluation": evaluation,
        "plan": job.plan, "signoffs": signing.of_job(job),
        "waits_for_signoff": [file.pk for file in signing.unsigned(job)],
    }  # fmt: skip


def event_shape(row: JobEvent) -> dict[str, Any]:
    """An event as the API shows it."""
    return {
        "id": row.id, "created_at": unix(row.created_at), "level": row.level, "message": row.message,
        "type": row.type, "data": row.data,
    }  # fmt: skip


def checkpoint_shape(row: Checkpoint) -> dict[str, Any]:
    """A checkpoint as the API shows it; its path on the disk stays here."""
    return {
        "id": row.id, "created_at": unix(row.created_at), "fine_tuning_job_id": row.job_id,
        "fine_tuned_model_checkpoint": row.id, "step_number": row.step, "metrics": {"step": row.step, **row.metrics},
    }  # fmt: skip
