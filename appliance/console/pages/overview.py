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

from appliance.console import attention, chart, contract, throughput
from appliance.console.access import PersonRequest, visible_tenants
from appliance.console.windows import WINDOWS, Window, chosen
from appliance.fleet.models import Device, Replica
from appliance.ledger.models import CANARY, LedgerEntry
from appliance.registry.models import ModelVersion

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
    present, promised = throughput.now(), contract.targets()
    return {
        "window": window,
        "windows": WINDOWS.values(),
        "verdict": attention.verdict(),
        "notices": attention.notices(),
        "now": present,
        "promised": promised,
        "kept": contract.kept(present, promised),
        "charts": charts(window, now, points, promised),
        "points": points[-TABLE_ROWS:][::-1],
        "replicas": Replica.objects.select_related("deployment__model", "life"),
        "devices": Device.objects.all(),
        "today": today_by_tenant(),
        "recent": LedgerEntry.objects.exclude(endpoint=CANARY)[:RECENT],
    }


def charts(
    window: Window, now: datetime, points: list[throughput.Point], promised: contract.Targets
) -> dict[str, chart.Chart]:
    """Throughput as lines, latencies as bands from p50 to p99, each with its contract line."""
    colours = model_colours()
    start = now - window.span

    def drawn(upper: str, target: int, lower: str | None = None) -> chart.Chart:
        return chart.draw(
            _series(points, upper, start),
            lower=_series(points, lower, start) if lower else None,
            colours=colours,
            start=start,
            span=window.span,
            step_s=window.step_s,
            contract=target,
            unit="ms" if lower else "tokens/s",
        )

    return {
        "input": drawn("input_tps", promised.input_tps),
        "output": drawn("output_tps", promised.output_tps),
        "ttft": drawn("ttft_p99_ms", promised.ttft_ms, lower="ttft_p50_ms"),
        "tpot": drawn("tpot_p99_ms", promised.tpot_ms, lower="tpot_p50_ms"),
    }


def _series(points: list[throughput.Point], name: str, start: datetime) -> dict[str, list[tuple[datetime, float]]]:
    """One figure of every model, without the steps in which it is not known."""
    series: dict[str, list[tuple[datetime, float]]] = defaultdict(list)
    for point in points:
        value: float | None = getattr(point, name)
        if value is not None:
            series[point.model].append((max(point.at, start), value))
    return series


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
