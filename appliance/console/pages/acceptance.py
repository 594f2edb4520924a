"""Acceptance: load runs against the contract's targets, newest first; one with its reasons and its signed certificate."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode

from appliance.console import words
from appliance.console.access import PersonRequest, operator_only
from appliance.console.content_security import SEALED
from appliance.console.paging import newest_first
from appliance.console.queries import text
from appliance.operations.acceptance import certificate_file
from appliance.operations.models import AcceptanceRun

FILTERS = {"state": "verdict", "model": "model_name"}
KINDS = {"certificate.html": "text/html; charset=utf-8", "certificate.json": "application/json"}


@operator_only
def acceptance(request: PersonRequest) -> HttpResponse:
    """The list."""
    filters = {name: value for name in FILTERS if (value := text(request.GET, name))}
    runs = AcceptanceRun.objects.filter(**{FILTERS[name]: value for name, value in filters.items()})
    shown = newest_first(runs, text(request.GET, "before"), at="started_at")
    context: dict[str, Any] = {
        "rows": shown.rows,
        "filters": filters,
        "kept": urlencode(filters),
        "older": urlencode({**filters, "before": shown.older}) if shown.older else "",
        "paged": shown.paged,
        "states": words.ACCEPTANCE,
    }
    return render(request, "console/acceptance.html", context)


@operator_only
def acceptance_run(request: PersonRequest, run_id: UUID) -> HttpResponse:
    """One run."""
    run = _run(run_id)
    context: dict[str, Any] = {
        "run": run,
        "taken_ms": max(0.0, (run.finished_at - run.started_at).total_seconds() * 1000),
        "rates": [
            {"kind": "input", "target": run.target_input_tps, "measured": run.input_tps},
            {"kind": "output", "target": run.target_output_tps, "measured": run.output_tps},
        ],
        "files": [name for name in KINDS if _content(run, name) is not None],
    }
    return render(request, "console/acceptance_run.html", context)


@operator_only
def certificate_html(request: PersonRequest, run_id: UUID) -> HttpResponse:
    """The certificate to print."""
    return _download(_run(run_id), "certificate.html")


@operator_only
def certificate_json(request: PersonRequest, run_id: UUID) -> HttpResponse:
    """The certificate as it was signed."""
    return _download(_run(run_id), "certificate.json")


def _download(run: AcceptanceRun, name: str) -> HttpResponse:
    """Always a download, and in a sandbox where somebody opens it all the same."""
    content = _content(run, name)
    if content is None:
        raise Http404
    response = HttpResponse(content, content_type=KINDS[name])
    response["Content-Disposition"] = f'attachment; filename="acceptance-{run.pk}-{name}"'
    response["Content-Security-Policy"] = SEALED
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _run(run_id: UUID) -> AcceptanceRun:
    run = AcceptanceRun.objects.filter(pk=run_id).first()
    if run is None:
        raise Http404
    return run


def _content(run: AcceptanceRun, name: str) -> bytes | None:
    try:
        return certificate_file(run, name).read_bytes()
    except OSError:
        return None
