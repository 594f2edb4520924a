"""Erasures: what a file led to before it is erased, how far each erasure is, and its signed certificate."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from appliance.console import words
from appliance.console.access import PersonRequest, may_manage, owned_by_visible, visible_erasure, visible_file
from appliance.console.content_security import SEALED
from appliance.console.paging import newest_first
from appliance.console.queries import text
from appliance.training import erasing
from appliance.training.erasure_certificate import FILES, certificate_file
from appliance.training.erasure_plan import Act
from appliance.training.models import Erasure, StoredFile
from ops.acceptance.folder import HTML


def erase_file(request: PersonRequest, file_id: str) -> HttpResponse:
    """Say what the file led to, then have all of it erased; the worker goes on with it within seconds."""
    file = visible_file(request.user, file_id)
    if not may_manage(request.user, file.tenant):
        raise PermissionDenied
    if request.method == "POST":
        erasure = erasing.begin(file)
        messages.success(request, _("%(name)s is being erased.") % {"name": file.filename})
        return redirect("erasure", erasure.pk)
    return render(request, "console/file_erase.html", {"file": file, **_planned(file)})


def _planned(file: StoredFile) -> dict[str, Any]:
    items = erasing.planned(file)
    return {"lines": _lines([item.facts() for item in items]), "stops": any(item.act is Act.CANCEL for item in items)}


def _lines(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A plan's items with their words."""
    return [{**item, "kind": words.erasure_kind(item["kind"]), "act": words.erasure_act(item["act"])} for item in items]


def erasures(request: PersonRequest) -> HttpResponse:
    """The list."""
    rows = owned_by_visible(request.user, Erasure.objects.select_related("file"))
    shown = newest_first(rows, text(request.GET, "before"), at="asked_at")
    context: dict[str, Any] = {
        "rows": shown.rows,
        "older": urlencode({"before": shown.older}) if shown.older else "",
        "paged": shown.paged,
    }
    return render(request, "console/erasures.html", context)


def erasure(request: PersonRequest, erasure_id: UUID) -> HttpResponse:
    """One erasure."""
    row = visible_erasure(request.user, erasure_id)
    there = [name for name in FILES if _content(row, name) is not None]
    context = {"erasure": row, "lines": _lines(row.planned), "names": there}
    return render(request, "console/erasure.html", context)


def erasure_file(request: PersonRequest, erasure_id: UUID, name: str) -> HttpResponse:
    """A file of the certificate: always a download, and in a sandbox where somebody opens it all the same."""
    row = visible_erasure(request.user, erasure_id)
    content = _content(row, name)
    if content is None:
        raise Http404
    response = HttpResponse(content, content_type="text/html; charset=utf-8" if name == HTML else "application/json")
    response["Content-Disposition"] = f'attachment; filename="{name}"'  # the check wants them by these names
    response["Content-Security-Policy"] = SEALED
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _content(row: Erasure, name: str) -> bytes | None:
    try:
        return certificate_file(row, name).read_bytes()
    except OSError:
        return None
