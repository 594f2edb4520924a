"""Guide: copy-ready set-up for shells, programs and editors, with this box's address and the tenant's own model names."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from appliance.console.access import PersonRequest, chosen_tenant, may_manage, visible_tenants
from appliance.console.calling import base_url, callable_models, snippets
from appliance.console.editors import setups
from appliance.conversations.acts import log_of

MOST_NAMED = 200


def guide(request: PersonRequest) -> HttpResponse:
    """The page."""
    tenant = chosen_tenant(request, request.GET)
    if tenant is None and not request.user.is_staff:
        return render(request, "console/no_tenant.html")
    models = callable_models(tenant) if tenant is not None else []
    context: dict[str, Any] = {
        "tenant": tenant,
        "log": log_of(tenant) if tenant is not None else None,
        "tenants": visible_tenants(request.user)[:MOST_NAMED],
        "models": models,
        "call": snippets(request, tenant) if tenant is not None else {},
        "setups": setups(base_url(request), models),
        "may_manage": tenant is not None and may_manage(request.user, tenant),
    }
    return render(request, "console/guide.html", context)
