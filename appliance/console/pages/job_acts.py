"""What a person does with a fine-tune: cancel it (after being told what that means), pause it, resume it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from appliance.console import losses
from appliance.console.access import PersonRequest, may_manage, visible_job
from appliance.console.refusals import in_words
from appliance.training import jobs
from appliance.training.errors import JobRefused
from appliance.training.models import Job
from finetune.job import JobStatus, may_move


def cancel_job(request: PersonRequest, job_id: str) -> HttpResponse:
    """Say what is lost, then cancel."""
    job = _managed(request, job_id)
    if request.method == "POST":
        return _act(request, job, jobs.cancel, _("%(id)s was cancelled.") % {"id": job.pk})
    if not may_move(JobStatus(job.status), JobStatus.CANCELLED):
        return redirect("job", job.pk)
    found = losses.steps(job)
    context: dict[str, Any] = {"job": job, "trained": found[-1].step if found else 0}
    return render(request, "console/job_cancel.html", context)


def pause_job(request: PersonRequest, job_id: str) -> HttpResponse:
    """Pause."""
    job = _managed(request, job_id)
    return _act(
        request, job, jobs.pause, _("%(id)s is paused. Resumed, it goes on from its last checkpoint.") % {"id": job.pk}
    )


def resume_job(request: PersonRequest, job_id: str) -> HttpResponse:
    """Resume."""
    job = _managed(request, job_id)
    return _act(request, job, jobs.resume, _("%(id)s is queued again.") % {"id": job.pk})


def _managed(request: PersonRequest, job_id: str) -> Job:
    job = visible_job(request.user, job_id)
    if not may_manage(request.user, job.tenant):
        raise PermissionDenied
    return job


def _act(request: PersonRequest, job: Job, act: Callable[[Job], Job], done: str) -> HttpResponse:
    try:
        act(job)
    except JobRefused as refused:
        messages.error(request, in_words(refused.message))
    else:
        messages.success(request, done)
    return redirect("job", job.pk)
