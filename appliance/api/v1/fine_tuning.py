"""`/v1/fine_tuning/jobs`: a tenant's fine-tunes. What they may do is appliance.training.jobs' to say; here are addresses."""

from __future__ import annotations

import re
from typing import Annotated, Any

from django.db.models import QuerySet
from django.http import QueryDict
from ninja import Query, Router

from appliance.api import paging
from appliance.api.auth import KeyRequest
from appliance.api.v1.fine_tuning_shapes import (
    CheckpointList,
    EventList,
    FineTune,
    FineTuneList,
    JobRequest,
    checkpoint_shape,
    event_shape,
    job_shape,
)
from appliance.training import jobs
from appliance.training.errors import JobRefused
from appliance.training.models import Checkpoint, Job, JobEvent

router = Router(tags=["Fine-tuning"])

JobId = str
Limit = Annotated[int, Query(ge=1, le=1000)]
_METADATA = re.compile(r"metadata\[([^\]]*)\]")


@router.post("/jobs", response=FineTune, summary="Begin a fine-tune")
def create(request: KeyRequest, asked: JobRequest) -> dict[str, Any]:
    """Trains an adapter on a served base model with the tenant's own file."""
    hyperparameters, where = asked.asked()
    try:
        job = jobs.create(
            request.auth, model=asked.model, training_file=asked.training_file, validation_file=asked.validation_file,
            suffix=asked.suffix, seed=asked.seed, hyperparameters=hyperparameters, metadata=asked.metadata,
        )  # fmt: skip
    except JobRefused as refused:
        # named as the client sent it
        param = (refused.param or "").replace("hyperparameters", where, 1) or None
        raise JobRefused(refused.message, param, refused.code) from None
    return job_shape(job)


@router.get("/jobs", response=FineTuneList, summary="List fine-tunes")
def index(request: KeyRequest, after: str | None = None, limit: Limit = 20) -> dict[str, Any]:
    """The newest first; `metadata[name]=value` leaves out others."""
    rows = _with_metadata(_own(request), request.GET)
    found, more = paging.page(rows, after=after, limit=limit, marks=_own(request))
    return paging.listing([job_shape(job) for job in found], more)


@router.get("/jobs/{job_id}", response=FineTune, summary="One fine-tune")
def retrieve(request: KeyRequest, job_id: JobId) -> dict[str, Any]:
    """How far it is, and what came of it."""
    return job_shape(_one(request, job_id))


@router.post("/jobs/{job_id}/cancel", response=FineTune, summary="End a fine-tune")
def cancel(request: KeyRequest, job_id: JobId) -> dict[str, Any]:
    """Ends a fine-tune that is not over."""
    return job_shape(jobs.cancel(_one(request, job_id)))


@router.post("/jobs/{job_id}/pause", response=FineTune, summary="Pause a fine-tune")
def pause(request: KeyRequest, job_id: JobId) -> dict[str, Any]:
    """Stops at the last checkpoint and gives the devices back."""
    return job_shape(jobs.pause(_one(request, job_id)))


@router.post("/jobs/{job_id}/resume", response=FineTune, summary="Resume a fine-tune")
def resume(request: KeyRequest, job_id: JobId) -> dict[str, Any]:
    """Queues a paused fine-tune again."""
    return job_shape(jobs.resume(_one(request, job_id)))


@router.get("/jobs/{job_id}/events", response=EventList, summary="A fine-tune's events")
def events(request: KeyRequest, job_id: JobId, after: str | None = None, limit: Limit = 20) -> dict[str, Any]:
    """The newest first; `type: metrics` are training steps."""
    rows = JobEvent.objects.filter(job=_one(request, job_id))
    found, more = paging.page(rows, after=after, limit=limit, by=("seq",))
    return paging.listing([event_shape(row) for row in found], more)


@router.get("/jobs/{job_id}/checkpoints", response=CheckpointList, summary="A fine-tune's checkpoints")
def checkpoints(request: KeyRequest, job_id: JobId, after: str | None = None, limit: Limit = 10) -> dict[str, Any]:
    """The latest step first."""
    rows = Checkpoint.objects.filter(job=_one(request, job_id))
    found, more = paging.page(rows, after=after, limit=limit, by=("step", "pk"))
    return paging.listing([checkpoint_shape(row) for row in found], more)


def _own(request: KeyRequest) -> QuerySet[Job]:
    rows = Job.objects.filter(tenant=request.auth.tenant).prefetch_related("signoffs__user")
    return rows.select_related("base", "tenant", "training_file", "validation_file", "adapter__evaluation")


def _one(request: KeyRequest, job_id: str) -> Job:
    return paging.one(_own(request), job_id, "fine-tune", "fine_tuning_job_id")


def _with_metadata(rows: QuerySet[Job], query: QueryDict) -> QuerySet[Job]:
    """OpenAI's filter: `metadata[name]=value` for each pair, `metadata=null` for jobs without any."""
    if query.get("metadata") == "null":
        return rows.filter(metadata={})
    named = ((_METADATA.fullmatch(name), value) for name, value in query.items())
    wanted = {match.group(1): value for match, value in named if match is not None}
    if any("\0" in text for pair in wanted.items() for text in pair):
        return rows.none()
    return rows.filter(metadata__contains=wanted) if wanted else rows
