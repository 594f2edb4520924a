"""Data: the files that tenants uploaded and the datasets made of them; one file with its cleaning report."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode

from appliance.console import words
from appliance.console.access import (
    PersonRequest,
    may_manage,
    owned_by_visible,
    visible_file,
    visible_tenant,
    visible_tenants,
)
from appliance.console.calling import upload_line
from appliance.console.pages.signoffs import signing_of
from appliance.console.paging import newest_first
from appliance.console.queries import text
from appliance.console.report import limits, sections
from appliance.training.models import Dataset, Job, StoredFile

FILTERS = ("state", "tenant")
MOST_NAMED = 200
MOST_JOBS = 8


def data(request: PersonRequest) -> HttpResponse:
    """The list."""
    filters = {name: value for name in FILTERS if (value := text(request.GET, name))}
    if "tenant" in filters:
        visible_tenant(request.user, filters["tenant"])
    files = owned_by_visible(request.user, StoredFile.objects.filter(deleted_at=None, purpose="fine-tune"))
    files = files.filter(**{{"state": "status", "tenant": "tenant_id"}[name]: value for name, value in filters.items()})
    shown = newest_first(files, text(request.GET, "before"))
    rows = dict(Dataset.objects.filter(file__in=[file.pk for file in shown.rows]).values_list("file_id", "rows"))
    context: dict[str, Any] = {
        "rows": [{"file": file, "rows": rows.get(file.pk)} for file in shown.rows],
        "filters": filters,
        "kept": urlencode(filters),
        "older": urlencode({**filters, "before": shown.older}) if shown.older else "",
        "paged": shown.paged,
        "states": words.FILES,
        "tenant_ids": visible_tenants(request.user).values_list("id", flat=True)[:MOST_NAMED],
        "upload": upload_line(request),
    }
    return render(request, "console/data.html", context)


def file(request: PersonRequest, file_id: str) -> HttpResponse:
    """One file."""
    row = visible_file(request.user, file_id)
    dataset = getattr(row, "dataset", None)
    context: dict[str, Any] = {
        "file": row,
        "dataset": dataset,
        "sections": sections(dataset.report) if dataset is not None else [],
        "limits": limits(dataset.report) if dataset is not None else "",
        "signing": signing_of(dataset, request.user) if dataset is not None else None,
        "jobs": jobs_of(row),
        "may_manage": may_manage(request.user, row.tenant),
    }
    return render(request, "console/file.html", context)


def jobs_of(row: StoredFile) -> list[Job]:
    """The newest fine-tunes that use a file."""
    jobs = Job.objects.filter(Q(training_file=row) | Q(validation_file=row)).select_related("base")
    return list(jobs.order_by("-created_at")[:MOST_JOBS])
