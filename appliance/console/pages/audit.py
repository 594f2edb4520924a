"""Audit: who did what, newest first, filtered by act and tenant in the address, paged by position."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode

from appliance.audit.models import AuditEntry
from appliance.console.access import PersonRequest, operator_only
from appliance.console.paging import newest_first
from appliance.console.queries import text
from appliance.tenants.models import Tenant

FILTERS = {"action": "action__startswith", "tenant": "tenant_id"}
SUBJECTS = (
    "adapter", "bundle", "deployment", "engine", "file", "job", "key", "membership", "model", "plan", "tenant", "user",
)  # fmt: skip
MOST_NAMED = 200


@operator_only
def audit(request: PersonRequest) -> HttpResponse:
    """The list."""
    filters = {name: value for name in FILTERS if (value := text(request.GET, name))}
    entries = AuditEntry.objects.filter(**{FILTERS[name]: value for name, value in filters.items()})
    shown = newest_first(entries, _position(text(request.GET, "before")), at="at", key="seq")
    context: dict[str, Any] = {
        "rows": [{"entry": entry, "details": in_short(entry.details)} for entry in shown.rows],
        "filters": filters,
        "kept": urlencode(filters),
        "older": urlencode({**filters, "before": shown.older}) if shown.older else "",
        "paged": shown.paged,
        "subjects": SUBJECTS,
        "tenant_ids": Tenant.objects.order_by("pk").values_list("pk", flat=True)[:MOST_NAMED],
    }
    return render(request, "console/audit.html", context)


def _position(before: str) -> str:
    """The address's position, or none where its number is none."""
    number = before.rpartition("~")[2]
    return before if number.isascii() and number.isdecimal() else ""


def in_short(details: dict[str, Any]) -> str:
    """What an entry holds beside its columns, in one line."""
    return ", ".join(f"{name}: {_plain(value)}" for name, value in sorted(details.items()) if value not in (None, ""))


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
