"""Models: what was verified and may serve, and where it does; the adapters on each base."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Prefetch
from django.http import HttpResponse
from django.shortcuts import render

from appliance.console.access import PersonRequest, operator_only
from appliance.console.loading import loadings
from appliance.console.pages.adapter import may_withdraw
from appliance.console.queries import text
from appliance.fleet.models import Deployment
from appliance.registry.models import Adapter, EngineSlot, ModelVersion

PAGE_SIZE = 50


@operator_only
def models(request: PersonRequest) -> HttpResponse:
    """The page."""
    deployments = Prefetch("deployment_set", Deployment.objects.select_related("slot").prefetch_related("replica_rows"))
    context = {
        "versions": ModelVersion.objects.prefetch_related(deployments),
        "slots": EngineSlot.objects.all(),
        **adapters(text(request.GET, "q"), request.GET.get("page")),
    }
    return render(request, "console/models.html", context)


def adapters(query: str, page_number: str | None) -> dict[str, Any]:
    """One page of the adapters by their bases, the newest of each first."""
    rows = Adapter.objects.select_related("base", "tenant").order_by("base__name", "-created_at", "pk")
    if query:
        rows = rows.filter(name__icontains=query)
    page = Paginator(rows, PAGE_SIZE).get_page(page_number)
    shown = list(page.object_list)
    loaded = loadings(shown)
    return {
        "query": query,
        "page": page,
        "adapters": [{"adapter": row, "loading": loaded[row.pk], "may_withdraw": may_withdraw(row)} for row in shown],
    }
