"""Approvals: the adapters that wait for a second person, with what their checks found; approving and rejecting one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appliance.console.access import PersonRequest, may_manage, visible_adapter
from appliance.console.findings import evaluation_of, findings
from appliance.console.loading import loadings
from appliance.console.refusals import in_words
from appliance.console.waiting import waiting_adapters
from appliance.registry.models import Adapter
from appliance.tenants.models import ApiKey, User
from appliance.training.approvals import decide, refusal
from appliance.training.errors import ApprovalRefused

PAGE_SIZE = 20
MAX_REASON = 2000


class RejectForm(forms.Form):
    """Why an adapter is not to be used."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"), max_length=MAX_REASON, widget=forms.Textarea(attrs={"rows": 4}),
        help_text=gettext_lazy("Who asked for the fine-tune reads it there and through the API."),
    )  # fmt: skip


def approvals(request: PersonRequest) -> HttpResponse:
    """The list, the longest wait first."""
    rows = waiting_adapters(request.user).select_related("base", "tenant", "job__requested_by", "evaluation")
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {"page": page, "rows": [_row(adapter, request.user) for adapter in page.object_list]}
    return render(request, "console/approvals.html", context)


def _row(adapter: Adapter, user: User) -> dict[str, Any]:
    why_not = refusal(adapter, user)
    return {
        "adapter": adapter,
        "job": getattr(adapter, "job", None),
        "findings": findings(getattr(adapter, "evaluation", None)),
        "refusal": in_words(why_not) if why_not else "",
    }


def approve_adapter(request: PersonRequest, adapter_id: UUID) -> HttpResponse:
    """Say what approving does, then do it."""
    adapter = _managed(request, adapter_id)
    if request.method == "POST":
        return _decide(request, adapter, True, "")
    return _refused(request, adapter) or render(request, "console/approval_approve.html", _context(adapter))


def reject_adapter(request: PersonRequest, adapter_id: UUID) -> HttpResponse:
    """Say what rejecting does and ask why, then do it."""
    adapter = _managed(request, adapter_id)
    form = RejectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _decide(request, adapter, False, form.cleaned_data["reason"])
    context = _context(adapter) | {"form": form}
    status = 400 if form.errors else 200
    return _refused(request, adapter) or render(request, "console/approval_reject.html", context, status=status)


def _managed(request: PersonRequest, adapter_id: UUID) -> Adapter:
    adapter = visible_adapter(request.user, adapter_id)
    if not may_manage(request.user, adapter.tenant):
        raise PermissionDenied
    return adapter


def _refused(request: PersonRequest, adapter: Adapter) -> HttpResponse | None:
    """Back to the list with the reason, for a person who may not decide."""
    why_not = refusal(adapter, request.user)
    if why_not is None:
        return None
    messages.error(request, in_words(why_not))
    return redirect("approvals")


def _context(adapter: Adapter) -> dict[str, Any]:
    return {
        "adapter": adapter,
        "job": getattr(adapter, "job", None),
        "loading": loadings([adapter])[adapter.pk],
        "keys": ApiKey.objects.filter(tenant=adapter.tenant, revoked_at=None, internal=False).count(),
        "findings": findings(evaluation_of(adapter)),
    }


def _decide(request: PersonRequest, adapter: Adapter, approved: bool, reason: str) -> HttpResponse:
    try:
        decide(adapter, request.user, approved, reason)
    except ApprovalRefused as refused:
        messages.error(request, in_words(refused.message))
    else:
        said = _("%(name)s was approved; engines load it now.") if approved else _("%(name)s was rejected.")
        messages.success(request, said % {"name": adapter.name})
    return redirect("approvals")
