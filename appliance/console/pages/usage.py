"""Usage: tokens and cost over a window by tenant, model and key, and the requests behind them.

Members see their own tenants. The list pages by position (`before`), so that it holds with any number of rows.
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from appliance.console import consumption, words
from appliance.console.access import PersonRequest, visible_tenant, visible_tenants
from appliance.console.paging import newest_first
from appliance.console.queries import text
from appliance.console.windows import WINDOWS, chosen
from appliance.ledger.models import CANARY, LedgerEntry
from appliance.tenants.models import ApiKey
from appliance.tenants.playground import NAME as PLAYGROUND
from appliance.tenants.playground import playground_keys

FILTERS = ("tenant", "model", "key", "outcome")
MOST_NAMED = 20


def usage(request: PersonRequest) -> HttpResponse:
    """The page."""
    window = chosen(request.GET, "24h")
    filters = {name: value for name in FILTERS if (value := text(request.GET, name))}
    entries = _filtered(_visible(request, filters), filters).filter(finished_at__gte=timezone.now() - window.span)
    groups = consumption.groups(entries)
    # a canary every few seconds would bury the requests of people; the sums above hold them all the same
    listed = entries if "tenant" in filters else entries.exclude(endpoint=CANARY)
    part = newest_first(listed, text(request.GET, "before"), at="finished_at", key="request_id")
    key_names, playground = _keys({group.key for group in groups} | {row.key_id or "" for row in part.rows})
    context = {
        "window": window,
        "windows": WINDOWS.values(),
        "filters": filters,
        "kept": urlencode(filters),
        "total": consumption.total(groups),
        "tables": _tables(groups, key_names, playground),
        "rows": [{"entry": row, "key": key_names.get(row.key_id or "", "")} for row in part.rows],
        "older": urlencode({"window": window.name, **filters, "before": part.older}) if part.older else "",
        "paged": part.paged,
        "outcomes": words.OUTCOMES,
        "tenant_ids": visible_tenants(request.user).values_list("id", flat=True)[:200],
        "models": sorted({group.model for group in groups}),
    }
    return render(request, "console/usage.html", context)


def _visible(request: PersonRequest, filters: dict[str, str]) -> QuerySet[LedgerEntry]:
    if "tenant" in filters:
        visible_tenant(request.user, filters["tenant"])
    if request.user.is_staff:
        return LedgerEntry.objects.all()
    return LedgerEntry.objects.filter(tenant_id__in=list(visible_tenants(request.user).values_list("id", flat=True)))


def _filtered(entries: QuerySet[LedgerEntry], filters: dict[str, str]) -> QuerySet[LedgerEntry]:
    columns = {"tenant": "tenant_id", "model": "model", "key": "key_id", "outcome": "outcome"}
    exact: dict[str, Any] = {
        columns[name]: value for name, value in filters.items() if (name, value) != ("key", PLAYGROUND)
    }
    if filters.get("key") == PLAYGROUND:  # a new key every ten minutes: they are one line to people
        exact["key_id__in"] = [str(pk) for pk in playground_keys().values_list("pk", flat=True)]
    return entries.filter(**exact)


def _tables(groups: list[consumption.Group], key_names: dict[str, str], playground: set[str]) -> list[dict[str, Any]]:
    """Sums by tenant, model and key; the template names the columns."""
    by_key = consumption.fold(groups, lambda group: PLAYGROUND if group.key in playground else group.key)
    key_names = key_names | {PLAYGROUND: str(_("playground"))}
    return [
        {
            "kind": "tenant",
            "rows": [(t.name, t.name, t) for t in consumption.fold(groups, lambda g: g.tenant)[:MOST_NAMED]],
        },
        {
            "kind": "model",
            "rows": [(t.name, t.name, t) for t in consumption.fold(groups, lambda g: g.model)[:MOST_NAMED]],
        },
        {"kind": "key", "rows": [(t.name, key_names.get(t.name, ""), t) for t in by_key[:MOST_NAMED]]},
    ]


def _keys(ids: set[str]) -> tuple[dict[str, str], set[str]]:
    """What keys are called, and which of them the playground made."""
    found = list(ApiKey.objects.filter(pk__in=[key_id for key_id in ids if key_id]))
    playground = {str(key.pk) for key in found if key.internal and key.name.startswith(f"{PLAYGROUND} ")}
    names = {str(key.pk): f"{key.name} ({key})" for key in found}
    return names | dict.fromkeys(playground, str(_("playground"))), playground
