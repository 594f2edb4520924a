"""Upgrades: every name's way from one version to another, newest first; one of them with its steps and what to do next.

Upgrades are begun and gone on with from the command line; these pages read the rows it leaves.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode

from appliance.console import report, words
from appliance.console.access import PersonRequest, operator_only
from appliance.console.paging import newest_first
from appliance.console.queries import text
from appliance.operations.models import Upgrade, UpgradeState, UpgradeStep

FILTERS = {"state": "state", "name": "name"}
UNFINISHED = (UpgradeState.PLANNED, UpgradeState.RUNNING)


@operator_only
def upgrades(request: PersonRequest) -> HttpResponse:
    """The list."""
    filters = {name: value for name in FILTERS if (value := text(request.GET, name))}
    rows = Upgrade.objects.select_related("from_model", "to_model")
    rows = rows.filter(**{FILTERS[name]: value for name, value in filters.items()})
    shown = newest_first(rows, text(request.GET, "before"))
    context: dict[str, Any] = {
        "rows": [{"upgrade": row, "since": since(row)} for row in shown.rows],
        "filters": filters,
        "kept": urlencode(filters),
        "older": urlencode({**filters, "before": shown.older}) if shown.older else "",
        "paged": shown.paged,
        "states": words.UPGRADES,
    }
    return render(request, "console/upgrades.html", context)


@operator_only
def upgrade(request: PersonRequest, upgrade_id: UUID) -> HttpResponse:
    """One upgrade; `?part=live` is what refreshes until it is over."""
    row = Upgrade.objects.select_related("from_model", "to_model").filter(pk=upgrade_id).first()
    if row is None:
        raise Http404
    context: dict[str, Any] = {
        "upgrade": row,
        "since": since(row),
        "strategy": words.strategy(row.strategy),
        "steps": [_shown(step) for step in row.steps.all()],
        "goes_on": row.state in UNFINISHED,
    }
    part = request.GET.get("part") == "live"
    return render(request, "console/parts/upgrade_live.html" if part else "console/upgrade.html", context)


def since(row: Upgrade) -> datetime:
    """Since when the upgrade has been as it is, as far as its row tells."""
    return row.finished_at or row.started_at or row.created_at


def _shown(step: UpgradeStep) -> dict[str, Any]:
    ended, begun = step.finished_at, step.started_at
    taken = (ended - begun).total_seconds() * 1000 if ended and begun and ended >= begun else None
    details = step.detail.items() if isinstance(step.detail, dict) else ()
    return {
        "step": step,
        "meaning": words.step(step.name),
        "taken_ms": taken,
        "details": [(report.label(name), report.cell(value)) for name, value in sorted(details)],
    }
