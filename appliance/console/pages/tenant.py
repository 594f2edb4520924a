"""One tenant: how its people call the service, what it cost this month, its keys, adapters and people, its plan."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from appliance.console import consumption, words
from appliance.console.access import PersonRequest, may_manage, operator_only, visible_tenant
from appliance.console.calling import snippets
from appliance.console.pages.aliases import alias_rows
from appliance.console.pages.keys import key_rows
from appliance.conversations.acts import log_of
from appliance.fleet.canaries import MOST_SHARE
from appliance.ledger.models import LedgerEntry
from appliance.registry.aliases import targets
from appliance.registry.models import Adapter
from appliance.tenants.acts import set_policy, set_signoff
from appliance.tenants.models import AdapterPolicy, Membership, Tenant

RECENT = 5


def tenant(request: PersonRequest, tenant_id: str) -> HttpResponse:
    """The page."""
    row = visible_tenant(request.user, tenant_id)
    context: dict[str, Any] = {
        "tenant": row,
        "log": log_of(row),
        "owns": Membership.objects.filter(user=request.user, tenant=row, role=Membership.Role.OWNER).exists(),
        "word": words.ACTIVE if row.is_active else words.INACTIVE,
        "call": snippets(request, row),
        "month": _month(row),
        "policies": AdapterPolicy.choices,
        "adapters": Adapter.objects.filter(tenant=row).select_related("base")[:RECENT],
        "aliases": alias_rows(row),
        "alias_targets": targets(row),
        "most_share": MOST_SHARE,
        "keys": key_rows(row, active_only=True)[:RECENT],
        "may_manage": may_manage(request.user, row),
        "people": Membership.objects.filter(tenant=row).select_related("user").order_by("user__username"),
        "recent": LedgerEntry.objects.filter(tenant_id=row.id)[:RECENT],
    }
    return render(request, "console/tenant.html", context)


@operator_only
def tenant_policy(request: PersonRequest, tenant_id: str) -> HttpResponse:
    """Change when the tenant's adapters are used, or whether data reports are signed off.

    Fine-tunes that were begun keep the rule for adapters that they were begun under.
    """
    row = visible_tenant(request.user, tenant_id)
    if "needs_signoff" in request.POST:
        return _signoff_rule(request, row)
    policy = request.POST.get("adapter_policy", "")
    if policy in AdapterPolicy.values:
        set_policy(row.pk, policy)
        messages.success(request, _("From now on, adapters of %(name)s are used %(when)s.") % {
            "name": row.name, "when": AdapterPolicy(policy).label})  # fmt: skip
    else:
        messages.error(request, _("That is no rule for adapters; nothing was changed."))
    return redirect("tenant", row.pk)


def _signoff_rule(request: PersonRequest, row: Tenant) -> HttpResponse:
    """Whether the tenant's fine-tunes wait for a sign-off; those that wait or are to begin go by the new rule."""
    needed = {"yes": True, "no": False}.get(request.POST["needs_signoff"])
    if needed is None:
        messages.error(request, _("That is no rule for fine-tunes; nothing was changed."))
    else:
        set_signoff(row.pk, needed)
        messages.success(request, _("From now on, fine-tunes of %(name)s wait until their data's report is signed off.") % {
            "name": row.name} if needed else _("From now on, fine-tunes of %(name)s begin without a sign-off.") % {
            "name": row.name})  # fmt: skip
    return redirect("tenant", row.pk)


def _month(tenant: Tenant) -> consumption.Total:
    entries = LedgerEntry.objects.filter(tenant_id=tenant.id, finished_at__gte=month_start())
    return consumption.total(consumption.groups(entries))


def month_start() -> datetime:
    """Midnight of the month's first day in the appliance's zone."""
    return timezone.localtime().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
