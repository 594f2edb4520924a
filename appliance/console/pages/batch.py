"""One batch: how far it is, what it waits for, what was wrong, its files; and cancelling it. `?part=live` refreshes."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from appliance.batches import batches
from appliance.batches.errors import BatchRefused
from appliance.batches.models import Batch
from appliance.batches.states import TERMINAL, BatchStatus, may_move
from appliance.console.access import PersonRequest, may_manage, visible_batch
from appliance.console.refusals import in_words
from appliance.training import files

FAULTS_SHOWN = 20
FILES = {"input": "input_file", "output": "output_file", "errors": "error_file"}


def batch(request: PersonRequest, batch_id: str) -> HttpResponse:
    """The page."""
    row = visible_batch(request.user, batch_id)
    part = request.GET.get("part") == "live"
    return render(request, "console/parts/batch_live.html" if part else "console/batch.html", _facts(request, row))


def cancel_batch(request: PersonRequest, batch_id: str) -> HttpResponse:
    """Say what becomes of it, then cancel."""
    row = visible_batch(request.user, batch_id)
    if not may_manage(request.user, row.tenant):
        raise PermissionDenied
    if request.method != "POST":
        if not may_move(BatchStatus(row.status), BatchStatus.CANCELLING):
            return redirect("batch", row.pk)
        return render(request, "console/batch_cancel.html", _facts(request, row))
    try:
        batches.cancel(row)
    except BatchRefused:
        messages.error(request, _("%(id)s is over; there is nothing to cancel.") % {"id": row.pk})
    else:
        messages.success(request, _("%(id)s is being cancelled; what runs is waited for.") % {"id": row.pk})
    return redirect("batch", row.pk)


def batch_file(request: PersonRequest, batch_id: str, which: str) -> FileResponse:
    """One of its files, always as a download: tenants and models wrote what is in it."""
    row = visible_batch(request.user, batch_id)
    file = getattr(row, FILES[which]) if which in FILES else None
    if file is None or file.deleted_at is not None:
        raise Http404
    return FileResponse(
        files.path(file).open("rb"), as_attachment=True, filename=file.filename,
        content_type="text/plain; charset=utf-8", headers={"X-Content-Type-Options": "nosniff"},
    )  # fmt: skip


def _facts(request: PersonRequest, row: Batch) -> dict[str, Any]:
    status, num_done = BatchStatus(row.status), row.num_completed + row.num_failed
    manages = may_manage(request.user, row.tenant)
    return {
        "batch": row,
        "note": in_words(row.note),
        "over": status in TERMINAL,
        "num_done": num_done,
        "num_left": max(0, row.num_lines - num_done),
        "may_cancel": manages and may_move(status, BatchStatus.CANCELLING),
        "held": row.lease_expires_at is not None and row.lease_expires_at > timezone.now(),
        "files": [(which, getattr(row, column)) for which, column in FILES.items()],
        "faults": row.errors[:FAULTS_SHOWN],
        "more_faults": max(0, len(row.errors) - FAULTS_SHOWN),
    }
