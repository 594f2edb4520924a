"""One adapter: what it was made of, where it is loaded, what its checks found; and withdrawing it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from appliance.console.access import PersonRequest, may_manage, visible_adapter
from appliance.console.findings import evaluation_of, findings
from appliance.console.loading import loadings
from appliance.console.pages.keys import USE_SPAN
from appliance.console.refusals import in_words
from appliance.ledger.models import LedgerEntry
from appliance.registry.aliases import using
from appliance.registry.models import ADAPTER_MOVES, Adapter, AdapterState
from appliance.training.adapters import withdraw
from appliance.training.errors import AdapterRefused


def adapter(request: PersonRequest, adapter_id: UUID) -> HttpResponse:
    """The page."""
    row = visible_adapter(request.user, adapter_id)
    context: dict[str, Any] = {
        "adapter": row,
        "job": getattr(row, "job", None),
        "approval": getattr(row, "approval", None),
        "loading": loadings([row])[row.pk],
        "findings": findings(evaluation_of(row)),
        "may_withdraw": may_withdraw(row) and may_manage(request.user, row.tenant),
        "use": _use(row),
    }
    return render(request, "console/adapter.html", context)


def may_withdraw(row: Adapter) -> bool:
    """Whether there is anything to withdraw."""
    return AdapterState.WITHDRAWN in ADAPTER_MOVES[AdapterState(row.state)]


def withdraw_adapter(request: PersonRequest, adapter_id: UUID) -> HttpResponse:
    """Say who used it lately, then withdraw it."""
    row = visible_adapter(request.user, adapter_id)
    if not may_manage(request.user, row.tenant):
        raise PermissionDenied
    if request.method == "POST":
        try:
            names = withdraw(row)
        except AdapterRefused as refused:
            messages.error(request, in_words(refused.message))
        else:
            messages.success(request, _("%(name)s was withdrawn.") % {"name": row.name})
            if names:
                messages.warning(request, _("Aliases that had it: %(names)s.") % {"names": ", ".join(names)})
        return redirect("adapter", row.pk)
    if not may_withdraw(row):
        return redirect("adapter", row.pk)
    names = [alias.name for alias in using(row)]
    context = {"adapter": row, "loading": loadings([row])[row.pk], "use": _use(row), "aliases": names}
    return render(request, "console/adapter_withdraw.html", context)


def _use(row: Adapter) -> dict[str, Any]:
    """Requests to this adapter over the last days."""
    entries = LedgerEntry.objects.filter(
        tenant_id=row.tenant_id, model=row.name, finished_at__gte=timezone.now() - USE_SPAN
    ).order_by()
    return entries.aggregate(requests=Count("pk"), last=Max("finished_at"))
