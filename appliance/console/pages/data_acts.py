"""A file's report to take along, and deleting the file.

The report as HTML holds text that tenants wrote: it is only ever sent as an attachment, never shown on this origin.
"""

from __future__ import annotations

import json
from pathlib import Path

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from appliance.console.access import PersonRequest, may_manage, visible_file
from appliance.console.pages.data import jobs_of
from appliance.console.refusals import in_words
from appliance.training import files
from appliance.training.errors import FileInUse
from appliance.training.models import Dataset


def report_html(request: PersonRequest, file_id: str) -> HttpResponse:
    """The report as a page to keep."""
    dataset = _dataset(request, file_id)
    try:
        content = (Path(dataset.path) / "report.html").read_bytes()
    except OSError:
        raise Http404 from None
    return _attachment(content, "text/html; charset=utf-8", f"{dataset.file_id}-report.html")


def report_json(request: PersonRequest, file_id: str) -> HttpResponse:
    """The report as data."""
    dataset = _dataset(request, file_id)
    content = json.dumps(dataset.report, ensure_ascii=False, indent=2).encode("utf-8", "backslashreplace")
    return _attachment(content, "application/json", f"{dataset.file_id}-report.json")


def _dataset(request: PersonRequest, file_id: str) -> Dataset:
    dataset: Dataset | None = getattr(visible_file(request.user, file_id), "dataset", None)
    if dataset is None:
        raise Http404
    return dataset


def _attachment(content: bytes, kind: str, name: str) -> HttpResponse:
    response = HttpResponse(content, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def delete_file(request: PersonRequest, file_id: str) -> HttpResponse:
    """Say what goes with it, then delete it."""
    file = visible_file(request.user, file_id)
    if not may_manage(request.user, file.tenant):
        raise PermissionDenied
    if request.method == "POST":
        try:
            files.delete(file)
        except FileInUse as refused:
            messages.error(request, in_words(refused.message))
            return redirect("file", file.pk)
        messages.success(request, _("%(name)s was deleted.") % {"name": file.filename})
        return redirect("data")
    return render(request, "console/file_delete.html", {"file": file, "jobs": jobs_of(file)})
