"""`/v1/batches`: a tenant's files of requests at work. What they may do is appliance.batches' to say; here are addresses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db.models import QuerySet
from ninja import Query, Router, Schema

from appliance.api import paging
from appliance.api.auth import KeyRequest
from appliance.api.v1.files import unix
from appliance.batches import batches
from appliance.batches.errors import BatchRefused
from appliance.batches.models import Batch
from appliance.batches.states import BatchStatus, moment_of

router = Router(tags=["Batches"])


class BatchRequest(Schema):
    """The body that begins a batch."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_expires_after: Any = None


class BatchFault(Schema):
    """What is wrong with the input file, or with one of its lines."""

    code: str
    line: int | None
    message: str
    param: str | None


class BatchFaults(Schema):
    """Why a batch failed."""

    object: Literal["list"] = "list"
    data: list[BatchFault]


class RequestCounts(Schema):
    """How far a batch is."""

    total: int
    completed: int
    failed: int


class InputDetails(Schema):
    """Of the input tokens."""

    cached_tokens: int


class OutputDetails(Schema):
    """Of the output tokens; models here don't tell them apart."""

    reasoning_tokens: int = 0


class BatchUsage(Schema):
    """Tokens of the answers in the output file."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class BatchObject(Schema):
    """OpenAI's batch object."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str | None
    errors: BatchFaults | None
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: BatchUsage
    metadata: dict[str, str] | None


class BatchList(Schema):
    """A page of batches."""

    object: Literal["list"]
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


@router.post("", response=BatchObject, summary="Begin a batch")
def create(request: KeyRequest, asked: BatchRequest) -> dict[str, Any]:
    """Takes a file of requests in; its lines are checked afterwards."""
    if asked.output_expires_after is not None:
        raise BatchRefused("Files don't expire here; delete them.", "output_expires_after")
    batch = batches.create(
        request.auth, input_file=asked.input_file_id, endpoint=asked.endpoint, completion_window=asked.completion_window,
        metadata=asked.metadata,
    )  # fmt: skip
    return shape(batch)


@router.get("", response=BatchList, summary="List batches")
def index(
    request: KeyRequest, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> dict[str, Any]:
    """The newest first."""
    found, more = paging.page(_own(request), after=after, limit=limit)
    return paging.listing([shape(batch) for batch in found], more)


@router.get("/{batch_id}", response=BatchObject, summary="One batch")
def retrieve(request: KeyRequest, batch_id: str) -> dict[str, Any]:
    """How far it is, and the files that came of it."""
    return shape(_one(request, batch_id))


@router.post("/{batch_id}/cancel", response=BatchObject, summary="End a batch early")
def cancel(request: KeyRequest, batch_id: str) -> dict[str, Any]:
    """What runs is waited for; what was answered is in the output file."""
    return shape(batches.cancel(_one(request, batch_id)))


def shape(batch: Batch) -> dict[str, Any]:
    """A row as the API shows it."""
    moments = {name: _moment(batch, name) for name in map(moment_of, BatchStatus) if name is not None}
    return {
        "id": batch.pk, "endpoint": batch.endpoint, "model": batch.model or None,
        "errors": {"data": batch.errors} if batch.errors else None,
        "input_file_id": batch.input_file_id, "completion_window": batch.completion_window, "status": batch.status,
        "output_file_id": batch.output_file_id, "error_file_id": batch.error_file_id,
        "created_at": unix(batch.created_at), "expires_at": unix(batch.expires_at), **moments,
        "request_counts": {
            "total": batch.num_lines, "completed": batch.num_completed, "failed": batch.num_failed,
        },
        "usage": _usage(batch), "metadata": batch.metadata,
    }  # fmt: skip


def _moment(batch: Batch, name: str) -> int | None:
    value: datetime | None = getattr(batch, name)
    return None if value is None else unix(value)


def _usage(batch: Batch) -> dict[str, Any]:
    return {
        "input_tokens": batch.input_tokens, "input_tokens_details": {"cached_tokens": batch.cached_tokens},
        "output_tokens": batch.output_tokens, "output_tokens_details": {},
        "total_tokens": batch.input_tokens + batch.output_tokens,
    }  # fmt: skip


def _own(request: KeyRequest) -> QuerySet[Batch]:
    return Batch.objects.filter(tenant=request.auth.tenant)


def _one(request: KeyRequest, batch_id: str) -> Batch:
    return paging.one(_own(request), batch_id, "batch", "batch_id")
