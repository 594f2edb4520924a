"""Batches: the list, filtered by state and tenant in the address, paged by position. `?part=live` is what refreshes."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode

from appliance.batches.models import Batch
from appliance.console import words
from appliance.console.access import PersonRequest, owned_by_visible, visible_tenant, visible_tenants
from appliance.console.calling import batch_program
from appliance.console.paging import newest_first
from appliance.console.queries import text
from appliance.fleet.models import Deployment

FILTERS = ("state", "tenant")
MOST_NAMED = 200


def batches(request: PersonRequest) -> HttpResponse:
    """The page."""
    filters = {name: value for name in FILTERS if (value := text(request.GET, name))}
    if "tenant" in filters:
        visible_tenant(request.user, filters["tenant"])
    rows = owned_by_visible(request.user, Batch.objects.select_related("input_file"))
    rows = rows.filter(**{{"state": "status", "tenant": "tenant_id"}[name]: value for name, value in filters.items()})
    before = text(request.GET, "before")
    shown = newest_first(rows, before)
    context: dict[str, Any] = {
        "rows": shown.rows,
        "filters": filters,
        "kept": urlencode(filters),
        "here": urlencode({**filters, **({"before": before} if shown.paged else {})}),
        "older": urlencode({**filters, "before": shown.older}) if shown.older else "",
        "paged": shown.paged,
        "states": words.BATCHES,
    }
    if request.GET.get("part") == "live":
        return render(request, "console/parts/batches_live.html", context)
    context["tenant_ids"] = visible_tenants(request.user).values_list("id", flat=True)[:MOST_NAMED]
    if not context["rows"]:
        context["program"] = batch_program(request, _a_model())
    return render(request, "console/batches.html", context)


def _a_model() -> str:
    served = Deployment.objects.filter(running=True, serves=True).order_by("model__name")
    return served.values_list("model__name", flat=True).first() or ""
