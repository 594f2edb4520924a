"""A tenant's aliases on its page: what they stand for and how a canary does; its owners and operators set and remove them."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from appliance.console.access import PersonRequest, may_manage, visible_tenant
from appliance.console.queries import text
from appliance.console.refusals import in_words
from appliance.fleet.canaries import Doing
from appliance.registry import aliases
from appliance.registry.alias_figures import compare
from appliance.registry.errors import AliasRefused
from appliance.registry.models import Alias
from appliance.tenants.models import Tenant

TOO_LONG = 201  # characters: a name that is cut must not become another's


@dataclass(frozen=True)
class AliasRow:
    """One alias as the page shows it; figures only with a canary."""

    alias: Alias
    state: str
    figures: tuple[Doing, Doing] | None


def alias_rows(tenant: Tenant) -> list[AliasRow]:
    """A tenant's aliases by name."""
    models = aliases.served(tenant)
    return [AliasRow(row, aliases.state(row, models), compare(row)) for row in tenant.aliases.all()]


def alias_set(request: PersonRequest, tenant_id: str) -> HttpResponse:
    """Make an alias, or have it stand for another model; without a canary it has none afterwards."""
    tenant = _managed(request, tenant_id)
    name, to, canary = (text(request.POST, field, TOO_LONG) for field in ("name", "to", "canary"))
    share = text(request.POST, "share")
    try:
        number = int(share) if canary and share.isdecimal() and len(share) <= 3 else None
        row = aliases.set_alias(tenant, name, to=to, canary=canary, share=number if canary else 0)
    except AliasRefused as refused:
        messages.error(request, in_words(str(refused)))
    else:
        messages.success(request, _("%(name)s now stands for %(model)s.") % {"name": row.name, "model": row.target})
    return _back(tenant)


def alias_remove(request: PersonRequest, tenant_id: str) -> HttpResponse:
    """Take an alias away."""
    tenant = _managed(request, tenant_id)
    name = text(request.POST, "name", TOO_LONG)
    try:
        aliases.remove_alias(tenant, name)
    except AliasRefused as refused:
        messages.error(request, in_words(str(refused)))
    else:
        messages.success(request, _("The alias %(name)s was removed.") % {"name": name})
    return _back(tenant)


def _managed(request: PersonRequest, tenant_id: str) -> Tenant:
    tenant = visible_tenant(request.user, tenant_id)
    if not may_manage(request.user, tenant):
        raise PermissionDenied
    return tenant


def _back(tenant: Tenant) -> HttpResponse:
    return redirect(reverse("tenant", args=[tenant.pk]) + "#aliases")
