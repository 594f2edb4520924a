"""The operator's overview: is it well, and what needs me? `?part=live` answers the part that refreshes by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import Count, Sum
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from appliance.console import attention, chart, throughput
from appliance.console.access import PersonRequest, visible_tenants
from appliance.console.windows import WINDOWS, Window, chosen
from appliance.fleet.models import Device, Replica
from appliance.ledger.models import CANARY, LedgerEntry
from appliance.registry.models import ModelVersion

CONTRACT_INPUT_TPS, CONTRACT_OUTPUT_TPS = 20_000, 5_000  # the contract's floor for one server
RECENT = 10
TABLE_ROWS = 30


def overview(request: PersonRequest) -> HttpResponse:
    """The operator's page; a member is led to their own tenant."""
    if not request.user.is_staff:
        return _own_place(request)
    window = chosen(request.GET, "15m")
    part = request.GET.get("part") == "live"
    return render(request, "console/parts/overview_live.html" if part else "console/overview.html", facts(window))


def _own_place(request: PersonRequest) -> HttpResponse:
    ids = list(visible_tenants(request.user).values_list("id", flat=True)[:2])
    if not ids:
        return render(request, "console/no_tenant.html")
    return redirect("tenant", ids[0]) if len(ids) == 1 else redirect("tenants")


def facts(window: Window) -> dict[str, Any]:
    """Everything on the page."""
    now = timezone.now()
    points = throughput.history(window, now)
    return {
        "window": window,
        "windows": WINDOWS.values(),
        "verdict": attention.verdict(),
        "notices": attention.notices(),
        "now": throughput.now(),
        "charts": charts(window, now, points),
        "points": points[-TABLE_ROWS:][::-1],
        "replicas": Replica.objects.select_related("deployment__model", "life"),
        "devices": Device.objects.all(),
        "today": today_by_tenant(),
        "recent": LedgerEntry.objects.exclude(endpoint=CANARY)[:RECENT],
    }


def charts(window: Window, now: datetime, points: list[throughput.Point]) -> dict[str, chart.Chart]:
    """Input and output, each with its contract line."""
    series: dict[str, dict[str, list[tuple[datetime, float]]]] = {
        "input": defaultdict(list),
        "output": defaultdict(list),
    }
    for point in points:
        at = max(point.at, now - window.span)
        series["input"][point.model].append((at, point.input_tps))
        series["output"][point.model].append((at, point.output_tps))
    contracts = {"input": CONTRACT_INPUT_TPS, "output": CONTRACT_OUTPUT_TPS}
    colours = model_colours()
    return {
        name: chart.draw(
            lines,
            colours=colours,
            start=now - window.span,
            span=window.span,
            step_s=window.step_s,
            contract=contracts[name],
        )
        for name, lines in series.items()
    }


def model_colours() -> dict[str, int]:
    """A number for each model, by the order in which they were registered, so that a model keeps its colour."""
    names = ModelVersion.objects.order_by("pk").values_list("name", flat=True)
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def today_by_tenant() -> list[Mapping[str, Any]]:
    """Tokens since midnight in the appliance's zone, the largest first."""
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    rows = LedgerEntry.objects.filter(finished_at__gte=midnight).values("tenant_id").order_by()
    summed = rows.annotate(input=Sum("prompt_tokens"), output=Sum("completion_tokens"), requests=Count("pk"))
    return [*summed.order_by("-output")[:RECENT]]
