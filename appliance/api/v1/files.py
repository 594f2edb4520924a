"""`/v1/files`: the tenant's uploads, their bytes, and the report of what was cleaned out of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db.models import QuerySet
from django.http import FileResponse
from ninja import Query, Router, Schema

from appliance.api import paging
from appliance.api.auth import KeyRequest
from appliance.api.upload import received
from appliance.training import files, signing
from appliance.training.errors import FileRefused, Refused
from appliance.training.models import Dataset, StoredFile

router = Router(tags=["Files"])

FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(files.PURPOSES)},
                    },
                }
            }
        },
    }
}


class File(Schema):
    """OpenAI's file object."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: str
    status_details: str | None


class FileList(Schema):
    """A page of files."""

    object: Literal["list"]
    data: list[File]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(Schema):
    """What a deletion answers."""

    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


class SignoffShape(Schema):
    """Who answered for training on a file's data; the digest is of the report that they read."""

    file: str
    report_digest: str
    by: str
    at: int
    comment: str


class Report(Schema):
    """What cleaning found in a file, and the digest of the rows that training reads."""

    object: Literal["file.report"] = "file.report"
    file_id: str
    kind: str
    rows: int
    digest: str
    created_at: int
    report: dict[str, Any]
    report_digest: str
    signoff: SignoffShape | None


@router.post("", response=File, openapi_extra=FORM, summary="Upload a file")
def create(request: KeyRequest) -> dict[str, Any]:
    """Takes a multipart form with `file` and `purpose`."""
    tenant = request.auth.tenant
    with received(request, files.tenant_dir(tenant.pk), tenant.plan.max_file_bytes) as (fields, upload):
        if any(name.startswith("expires_after") for name in fields):
            raise FileRefused("Files don't expire here; delete them.", "expires_after")
        name, purpose = upload.name or "", fields.get("purpose", "")
        return shape(files.store(tenant, request.auth, purpose, name, upload.chunks()))


@router.get("", response=FileList, summary="List files")
def index(
    request: KeyRequest,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> dict[str, Any]:
    """The newest first, unless `order=asc`."""
    rows = _own(request)
    if purpose is not None:
        rows = rows.filter(purpose=purpose) if purpose in files.KEPT_PURPOSES else rows.none()
    # A script that deletes what it lists goes on from a file that is gone.
    marks = StoredFile.objects.filter(tenant=request.auth.tenant)
    found, more = paging.page(rows, after=after, limit=limit, descending=order == "desc", marks=marks)
    return paging.listing([shape(row) for row in found], more)


@router.get("/{file_id}", response=File, summary="One file")
def retrieve(request: KeyRequest, file_id: str) -> dict[str, Any]:
    """What is known of a file."""
    return shape(_one(request, file_id))


@router.delete("/{file_id}", response=FileDeleted, summary="Delete a file")
def delete(request: KeyRequest, file_id: str) -> dict[str, Any]:
    """Removes its bytes and what was made of them; refused while a fine-tune or a batch needs it."""
    row = _one(request, file_id)
    files.delete(row)
    return {"id": row.id}


@router.get("/{file_id}/content", summary="A file's bytes")
def content(request: KeyRequest, file_id: str) -> FileResponse:
    """The bytes as they were uploaded, or a batch's results; always as a download."""
    row = _one(request, file_id)
    kind = "text/plain; charset=utf-8" if row.filename.lower().endswith(".jsonl") else "application/octet-stream"
    return FileResponse(files.path(row).open("rb"), as_attachment=True, filename=row.filename, content_type=kind)


@router.get("/{file_id}/report", response=Report, summary="What cleaning found in a file")
def report(request: KeyRequest, file_id: str) -> dict[str, Any]:
    """Counts of what was kept, dropped and replaced, with cleaned samples."""
    row = _one(request, file_id)
    dataset = Dataset.objects.filter(file=row).first()
    if dataset is None:
        raise Refused(_why_no_report(row), "file_id", "not_found")
    signed = signing.standing(dataset)
    return {
        "file_id": row.id, "kind": dataset.kind, "rows": dataset.rows, "digest": dataset.digest,
        "created_at": unix(dataset.created_at), "report": dataset.report,
        "report_digest": signing.report_digest(dataset), "signoff": None if signed is None else signing.facts(signed),
    }  # fmt: skip


def shape(row: StoredFile) -> dict[str, Any]:
    """A row as the API shows it."""
    return {
        "id": row.id, "bytes": row.bytes, "created_at": unix(row.created_at), "filename": row.filename,
        "purpose": row.purpose, "status": row.status, "status_details": row.status_details or None,
    }  # fmt: skip


def unix(moment: datetime) -> int:
    """Seconds since 1970, as OpenAI's objects have them."""
    return int(moment.timestamp())


def _why_no_report(row: StoredFile) -> str:
    if row.status == StoredFile.Status.ERROR:
        return f"There is no report: the file was refused. {row.status_details}".strip()
    if row.purpose != "fine-tune":
        return "There is no report: only files for fine-tuning are cleaned."
    return f"There is no report yet: the file's status is {row.status}. Ask again shortly."


def _own(request: KeyRequest) -> QuerySet[StoredFile]:
    return StoredFile.objects.filter(tenant=request.auth.tenant, deleted_at=None)


def _one(request: KeyRequest, file_id: str) -> StoredFile:
    return paging.one(_own(request), file_id, "file", "file_id")
