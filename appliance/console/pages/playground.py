"""The playground: chat and fill-in-the-middle in the browser, through the same address and the same checks as any program.

The page itself asks for nothing; `POST /playground/key/` gives the browser a key for ten minutes, and playground.js speaks to
the gateway with it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.cache import cache
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from appliance.console.access import PersonRequest, chosen_tenant, visible_tenants
from appliance.console.calling import callable_models
from appliance.conversations.acts import log_of
from appliance.tenants.models import User
from appliance.tenants.playground import LIFETIME, open_key

MOST_NAMED = 200
MOST_KEYS, PERIOD_S = 60, 600  # a key every ten minutes is normal; so many are a program's


def playground(request: PersonRequest) -> HttpResponse:
    """The page."""
    tenant = chosen_tenant(request, request.GET)
    if tenant is None and not request.user.is_staff:
        return render(request, "console/no_tenant.html")
    context: dict[str, Any] = {
        "tenant": tenant,
        "log": log_of(tenant) if tenant is not None else None,
        "tenants": visible_tenants(request.user)[:MOST_NAMED],
        "models": callable_models(tenant) if tenant is not None else [],
    }
    return render(request, "console/playground.html", context)


def playground_key(request: PersonRequest) -> HttpResponse:
    """A key for this browser session, instead of the one it had."""
    tenant = chosen_tenant(request, request.POST)
    if tenant is None:
        raise Http404
    if not tenant.is_active:
        return _refused(_("This tenant is switched off: its keys are refused."), 403)
    if not _may_open(request.user):
        return _refused(_("Too many keys were asked for. Wait ten minutes; nobody else is affected."), 429)
    row, key = open_key(tenant, request.user, request.session.session_key or "")
    answer = {
        "key": key,
        "expires_at": row.expires_at,
        "expires_in_s": int(LIFETIME.total_seconds()),
        "models": [asdict(model) for model in callable_models(tenant)],
    }
    return JsonResponse(answer)


def _refused(message: str, status: int) -> JsonResponse:
    return JsonResponse({"message": message}, status=status)


def _may_open(user: User) -> bool:
    """Count one key and say whether it may be made."""
    name = f"console:playground:{user.pk}"
    cache.add(name, 0, PERIOD_S)
    try:
        return cache.incr(name) <= MOST_KEYS
    except ValueError:  # expired between the two calls: a new period begins
        return True
