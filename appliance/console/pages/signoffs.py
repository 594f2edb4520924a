"""Signing off a file's data report, and taking that back. The report itself is on the file's page, above the form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from appliance.console.access import PersonRequest, may_manage, visible_file
from appliance.console.refusals import in_words
from appliance.tenants.models import User
from appliance.training import signing
from appliance.training.errors import SignoffRefused
from appliance.training.models import Dataset, Job, Signoff, StoredFile


def sign_report(request: PersonRequest, file_id: str) -> HttpResponse:
    """Sign off the report with the digest that the form was made with."""
    digest, comment = request.POST.get("digest", ""), request.POST.get("comment", "").strip()
    return _act(
        request, file_id, lambda file: signing.sign(file, request.user, digest, comment),
        _("The data report is signed off. Fine-tunes that wait for it go on."),
    )  # fmt: skip


def revoke_report(request: PersonRequest, file_id: str) -> HttpResponse:
    """Take the sign-off back."""
    return _act(request, file_id, lambda file: signing.revoke(file, request.user), _("The sign-off is taken back."))


def _act(request: PersonRequest, file_id: str, act: Callable[[StoredFile], Signoff], done: str) -> HttpResponse:
    file = visible_file(request.user, file_id)
    if not may_manage(request.user, file.tenant):
        raise PermissionDenied
    try:
        act(file)
    except SignoffRefused as refused:
        messages.error(request, in_words(refused.message))
    else:
        messages.success(request, done)
    return redirect("file", file.pk)


def signing_of(dataset: Dataset, user: User) -> dict[str, Any]:
    """What a file's page says of its report's sign-off, and what this person may do."""
    standing = signing.standing(dataset)
    every = Signoff.objects.filter(file=dataset.file_id).select_related("user", "revoked_by")
    former = every if standing is None else every.exclude(pk=standing.pk)
    return {
        "needed": dataset.file.tenant.needs_signoff,
        "digest": signing.report_digest(dataset),
        "standing": standing,
        "used_by": None if standing is None else standing.jobs.order_by("created_at").first(),
        "former": former[:5],
        "may_sign": signing.may_sign(dataset.file, user),
        "most": signing.MAX_COMMENT,
    }  # fmt: skip


def signing_of_job(job: Job) -> dict[str, Any]:
    """The files that a fine-tune waits for, and the sign-offs that it went on by."""
    return {"waits_for": signing.unsigned(job), "signoffs": job.signoffs.select_related("user", "file").order_by("at")}
