"""Fine-tuning: the list of jobs, filtered by state and tenant in the address, paged by position."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode

from appliance.console import losses, words
from appliance.console.access import PersonRequest, owned_by_visible, visible_tenant, visible_tenants
from appliance.console.calling import fine_tuning_program, tunable_model
from appliance.console.paging import newest_first
from appliance.console.queries import text
from appliance.training.models import Job

FILTERS = ("state", "tenant")
MOST_NAMED = 200


def fine_tuning(request: PersonRequest) -> HttpResponse:
    """The page; `?part=live` is what refreshes."""
    filters = {name: value for name in FILTERS if (value := text(request.GET, name))}
    if "tenant" in filters:
        visible_tenant(request.user, filters["tenant"])
    jobs = owned_by_visible(request.user, Job.objects.select_related("base", "adapter"))
    jobs = jobs.filter(**{{"state": "status", "tenant": "tenant_id"}[name]: value for name, value in filters.items()})
    before = text(request.GET, "before")
    shown = newest_first(jobs, before)
    context: dict[str, Any] = {
        "rows": _rows(shown.rows),
        "filters": filters,
        "kept": urlencode(filters),
        "here": urlencode({**filters, **({"before": before} if shown.paged else {})}),
        "older": urlencode({**filters, "before": shown.older}) if shown.older else "",
        "paged": shown.paged,
        "states": words.JOBS,
    }
    if request.GET.get("part") == "live":
        return render(request, "console/parts/fine_tuning_live.html", context)
    context["tenant_ids"] = visible_tenants(request.user).values_list("id", flat=True)[:MOST_NAMED]
    if not context["rows"]:
        context["program"] = fine_tuning_program(request, tunable_model())
    return render(request, "console/fine_tuning.html", context)


def _rows(jobs: list[Job]) -> list[dict[str, Any]]:
    last = losses.last_of(jobs)
    return [{"job": job, "since": since(job), "loss": last.get(job.pk)} for job in jobs]


def since(job: Job) -> datetime:
    """Since when the job has been as it is, as far as its row tells."""
    return job.finished_at or job.started_at or job.created_at
