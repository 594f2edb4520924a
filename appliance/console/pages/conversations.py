"""A tenant's kept conversations: its owner turns them on and off, reads, takes along and erases them. Nobody else may, an
operator neither: their way is the command line, with a reason. Each look is in the audit log.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appliance.console.access import PersonRequest, visible_tenant
from appliance.console.paging import newest_first
from appliance.console.queries import text
from appliance.conversations import acts, reading
from appliance.conversations.errors import ConversationsError
from appliance.conversations.models import MAX_DAYS, MAX_MIB, MIN_MIB, Conversation
from appliance.tenants.models import ApiKey, Membership, Tenant
from inference.conversations.errors import ConversationError

MAX_SHOWN = 200_000  # characters of a text; the export has all


class SwitchForm(forms.Form):
    """How long and how much is kept."""

    days = forms.IntegerField(
        label=gettext_lazy("Days"), min_value=1, max_value=MAX_DAYS,
        help_text=gettext_lazy("A conversation is readable for this long, then it is erased."),
    )  # fmt: skip
    max_mib = forms.IntegerField(
        label=gettext_lazy("MiB at most"), min_value=MIN_MIB, max_value=MAX_MIB,
        help_text=gettext_lazy("Beyond it, the oldest conversations go first."),
    )  # fmt: skip


def owned_tenant(request: PersonRequest, tenant_id: str) -> Tenant:
    """A tenant that this person owns.

    Raises: Http404 for one that this person may not know, PermissionDenied for its developers and for operators.
    """
    tenant = visible_tenant(request.user, tenant_id)
    owners = Membership.objects.filter(user=request.user, tenant=tenant, role=Membership.Role.OWNER)
    if not owners.exists():
        raise PermissionDenied
    return tenant


def conversations(request: PersonRequest, tenant_id: str) -> HttpResponse:
    """The list; a POST turns the log on, or changes how long and how much is kept."""
    tenant = owned_tenant(request, tenant_id)
    log = acts.log_of(tenant)
    form = SwitchForm(request.POST or None, initial={"days": log.days, "max_mib": log.max_mib})
    if request.method == "POST" and form.is_valid():
        return _turn_on(request, tenant, form)
    shown = newest_first(reading.readable(tenant), text(request.GET, "before"), "at")
    if shown.rows:
        acts.record_read(tenant, "list", tenant.pk, number=len(shown.rows))
    names = _key_names(tenant)
    context: dict[str, Any] = {
        "tenant": tenant,
        "log": log,
        "form": form,
        "rows": [{"row": row, "key": names.get(row.key_id, f"{row.key_id[:8]}…")} for row in shown.rows],
        "older": urlencode({"before": shown.older}) if shown.older else "",
        "paged": shown.paged,
    }
    return render(request, "console/conversations.html", context, status=400 if form.errors else 200)


def _turn_on(request: PersonRequest, tenant: Tenant, form: SwitchForm) -> HttpResponse:
    try:
        log = acts.turn_on(tenant, form.cleaned_data["days"], form.cleaned_data["max_mib"])
    except ConversationsError:
        messages.error(request, _("The system tenant has no conversations."))
    else:
        messages.success(request, _("Conversations of %(name)s are kept for %(days)s days.") % {
            "name": tenant.name, "days": log.days})  # fmt: skip
    return redirect("conversations", tenant.pk)


def conversations_off(request: PersonRequest, tenant_id: str) -> HttpResponse:
    """Keep nothing more."""
    tenant = owned_tenant(request, tenant_id)
    if acts.turn_off(tenant):
        messages.success(request, _("From now on nothing is kept. What is there stays until its time is over."))
    return redirect("conversations", tenant.pk)


def conversations_erase(request: PersonRequest, tenant_id: str) -> HttpResponse:
    """Say what will be gone, then erase it."""
    tenant = owned_tenant(request, tenant_id)
    if request.method != "POST":
        count = Conversation.objects.filter(tenant=tenant).count()
        context = {"tenant": tenant, "log": acts.log_of(tenant), "count": count}
        return render(request, "console/conversations_erase.html", context)
    try:
        count = acts.erase(tenant)
    except ConversationsError:
        messages.info(request, _("Nothing was ever kept of this tenant."))
    except OSError:
        messages.warning(request, _("Some files could not be removed yet; the meter goes on within a minute."))
    else:
        messages.success(request, _("Erased: %(n)s conversations. Nobody can read them any more.") % {"n": count})
    return redirect("conversations", tenant.pk)


def conversation(request: PersonRequest, tenant_id: str, request_id: str) -> HttpResponse:
    """One conversation."""
    tenant = owned_tenant(request, tenant_id)
    row = reading.readable(tenant).filter(pk=request_id).first()
    if row is None:
        raise Http404
    acts.record_read(tenant, "read", row.request_id)
    context: dict[str, Any] = {
        "tenant": tenant,
        "row": row,
        "key": _key_names(tenant).get(row.key_id, f"{row.key_id[:8]}…"),
        "most": MAX_SHOWN,
    }
    try:
        found = reading.read(row)
    except ConversationError as error:
        return render(request, "console/conversation.html", context | {"gone": error.code})
    return render(request, "console/conversation.html", context | {"found": found})


def _key_names(tenant: Tenant) -> dict[str, str]:
    return {str(key.pk): str(key) for key in ApiKey.objects.filter(tenant=tenant)}


def conversations_file(request: PersonRequest, tenant_id: str) -> StreamingHttpResponse:
    """All of them to take along, always as a download: clients and models wrote what is in it."""
    tenant = owned_tenant(request, tenant_id)
    acts.record_read(tenant, "export", tenant.pk, number=reading.readable(tenant).count())
    return StreamingHttpResponse(
        reading.lines(tenant), content_type="text/plain; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{tenant.pk}-conversations.jsonl"',
            "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
        },
    )  # fmt: skip
