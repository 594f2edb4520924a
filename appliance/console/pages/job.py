"""One fine-tune: what needs a person, the facts, its losses, its adapter's checks, its story. `?part=live` refreshes."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import urlencode

from appliance.console import losses
from appliance.console.access import PersonRequest, may_manage, visible_job
from appliance.console.findings import evaluation_of, findings
from appliance.console.pages.signoffs import signing_of_job
from appliance.console.planned import planned
from appliance.console.queries import text
from appliance.console.refusals import in_words
from appliance.console.remedies import remedy
from appliance.fleet.models import DeviceOwner
from appliance.registry.models import Adapter, AdapterState
from appliance.tenants.models import Membership, User
from appliance.training import approvals
from appliance.training.models import Approval, Dataset, Job, JobEvent, StoredFile
from finetune.job import WORKABLE, JobStatus, may_move

EVENTS = 20
MOST_DIGITS = 19  # of a position: what a 64-bit column holds


def job(request: PersonRequest, job_id: str) -> HttpResponse:
    """The page."""
    row = visible_job(request.user, job_id)
    part = request.GET.get("part") == "live"
    every = request.GET.get("events") == "all"
    context = facts(row, request.user) | _events(row, text(request.GET, "before"), every)
    return render(request, "console/parts/job_live.html" if part else "console/job.html", context)


def facts(row: Job, user: User) -> dict[str, Any]:
    """Everything on the page but its story."""
    found = losses.steps(row)
    evaluation = evaluation_of(row.adapter) if row.adapter else None
    return {
        "job": row,
        "acts": _acts(row) if may_manage(user, row.tenant) else set(),
        "remedy": remedy(str(row.error.get("code", ""))) if row.error else "",
        "decision": _decision(row.adapter, user) if row.adapter else None,
        "files": [_file(row.training_file), *([_file(row.validation_file)] if row.validation_file else [])],
        "devices": _devices(row),
        "device_ms": 1000 * row.device_s,
        "plan": planned(row.plan),
        "signing": signing_of_job(row),
        "held": row.lease_expires_at is not None and row.lease_expires_at > timezone.now(),
        "chart": losses.curve(found),
        "steps": found[: -losses.TABLE_ROWS - 1 : -1],
        "evaluation": evaluation,
        "findings": findings(evaluation),
    }


def _acts(row: Job) -> set[str]:
    """What a person may have done with the job now."""
    status = JobStatus(row.status)
    acts = {"cancel"} if may_move(status, JobStatus.CANCELLED) else set()
    acts |= {"pause"} if may_move(status, JobStatus.PAUSED) else set()
    return acts | ({"resume"} if status is JobStatus.PAUSED else set())


def _decision(adapter: Adapter, user: User) -> dict[str, Any]:
    """Whether the adapter waits for a person, who that may be, and what was decided."""
    refusal = approvals.refusal(adapter, user)
    owners = Membership.objects.filter(tenant=adapter.tenant_id, role=Membership.Role.OWNER)
    return {
        "waits": adapter.state == AdapterState.WAITING,
        "refusal": in_words(refusal) if refusal else "",
        "owners": list(owners.order_by("user__username").values_list("user__username", flat=True)[:5]),
        "taken": Approval.objects.filter(adapter=adapter).select_related("user").first(),
    }


def _file(row: StoredFile) -> dict[str, Any]:
    return {"row": row, "dataset": Dataset.objects.filter(file=row).defer("report").first()}


def _devices(row: Job) -> list[str]:
    """The devices that are lent to this job; the holder's name carries the attempt."""
    if JobStatus(row.status) not in WORKABLE:
        return []
    held = DeviceOwner.objects.filter(job_id__startswith=row.pk).order_by("device_id")
    return list(held.values_list("device_id", flat=True))


def _events(row: Job, before: str, every: bool) -> dict[str, Any]:
    """The newest lines of the job's story before a position; every step's line only where it is asked for."""
    events = JobEvent.objects.filter(job=row).order_by("-seq")
    if not every:
        events = events.exclude(type="metrics")
    paged = before.isascii() and before.isdigit() and len(before) < MOST_DIGITS
    if paged:
        events = events.filter(seq__lt=int(before))
    found = list(events[: EVENTS + 1])
    kept: dict[str, str] = {"events": "all"} if every else {}
    return {
        "events": found[:EVENTS],
        "every": every,
        "kept": urlencode(kept),
        "older": urlencode({**kept, "before": str(found[EVENTS - 1].seq)}) if len(found) > EVENTS else "",
        "paged": paged,
        "here": urlencode({**kept, **({"before": before} if paged else {})}),
    }
