"""One tenant: how its people call the service, what it cost this month, its keys, its people, its plan."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from appliance.console import consumption, words
from appliance.console.access import PersonRequest, may_manage_keys, visible_tenant
from appliance.console.calling import snippets
from appliance.console.pages.keys import key_rows
from appliance.ledger.models import LedgerEntry
from appliance.tenants.models import Membership, Tenant

RECENT = 5


def tenant(request: PersonRequest, tenant_id: str) -> HttpResponse:
    """The page."""
    row = visible_tenant(request.user, tenant_id)
    context: dict[str, Any] = {
        "tenant": row,
        "word": words.ACTIVE if row.is_active else words.INACTIVE,
        "call": snippets(request, row),
        "month": _month(row),
        "keys": key_rows(row, active_only=True)[:RECENT],
        "may_manage": may_manage_keys(request.user, row),
        "people": Membership.objects.filter(tenant=row).select_related("user").order_by("user__username"),
        "recent": LedgerEntry.objects.filter(tenant_id=row.id)[:RECENT],
    }
    return render(request, "console/tenant.html", context)


def _month(tenant: Tenant) -> consumption.Total:
    entries = LedgerEntry.objects.filter(tenant_id=tenant.id, finished_at__gte=month_start())
    return consumption.total(consumption.groups(entries))


def month_start() -> datetime:
    """Midnight of the month's first day in the appliance's zone."""
    return timezone.localtime().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
