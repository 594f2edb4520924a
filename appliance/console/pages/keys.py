"""A tenant's API keys: who may sees them, owners and operators create, limit and revoke them. A new key is shown once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appliance.console import words
from appliance.console.access import PersonRequest, may_manage, visible_tenant
from appliance.console.calling import snippets
from appliance.console.key_limits import LimitsForm, told
from appliance.ledger.models import LedgerEntry
from appliance.tenants.keys import change_limits, mint, revoke
from appliance.tenants.models import ApiKey, Tenant

USE_SPAN = timedelta(days=7)
FORM_LIFE_S = 12 * 3600
LIFETIMES = [
    ("", gettext_lazy("never")),
    ("30", gettext_lazy("in 30 days")),
    ("90", gettext_lazy("in 90 days")),
    ("365", gettext_lazy("in a year")),
]


@dataclass(frozen=True)
class KeyRow:
    """One key as the list shows it; use is counted over the last seven days."""

    key: ApiKey
    word: words.Word
    limits: list[str]
    requests: int
    last_used: datetime | None


class KeyForm(LimitsForm):
    """A new key. `token` makes sending the same form twice harmless."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    days = forms.ChoiceField(label=gettext_lazy("Expires"), choices=LIFETIMES, required=False)
    token = forms.CharField(widget=forms.HiddenInput, max_length=64)


def key_rows(tenant: Tenant, active_only: bool = False) -> list[KeyRow]:
    """The tenant's keys, the working ones first."""
    currency = tenant.plan.currency
    keys = list(tenant.keys.filter(internal=False).select_related("created_by").order_by("-created_at"))
    entries = LedgerEntry.objects.filter(tenant_id=tenant.id, finished_at__gte=timezone.now() - USE_SPAN).order_by()
    used = {row["key_id"]: row for row in entries.values("key_id").annotate(n=Count("pk"), last=Max("finished_at"))}
    rows = []
    for key in keys:
        use = used.get(str(key.pk))
        rows.append(
            KeyRow(key, _word(key), list(told(key, currency)), use["n"] if use else 0, use["last"] if use else None)
        )
    working = [row for row in rows if row.word is words.ACTIVE]
    return working if active_only else working + [row for row in rows if row.word is not words.ACTIVE]


def _word(key: ApiKey) -> words.Word:
    if key.revoked_at is not None:
        return words.REVOKED
    return words.EXPIRED if key.expires_at is not None and key.expires_at <= timezone.now() else words.ACTIVE


def keys(request: PersonRequest, tenant_id: str) -> HttpResponse:
    """The list; a POST makes a key and shows it once."""
    tenant = visible_tenant(request.user, tenant_id)
    allowed = may_manage(request.user, tenant)
    new_key, form = None, _blank_form(tenant)
    if request.method == "POST":
        if not allowed:
            raise PermissionDenied
        form = KeyForm(request.POST, tenant=tenant)
        if form.is_valid():
            new_key = _create(request, tenant, form)
            if new_key is None:
                messages.warning(request, _("That form was already sent; no second key was made."))
                return redirect("keys", tenant.id)
            form = _blank_form(tenant)
    context = {
        "tenant": tenant, "rows": key_rows(tenant), "may_manage": allowed, "form": form, "new_key": new_key,
        "call": snippets(request, tenant, new_key or ""),
    }  # fmt: skip
    return render(request, "console/keys.html", context, status=400 if form.errors else 200)


def _blank_form(tenant: Tenant) -> KeyForm:
    return KeyForm(tenant=tenant, initial={"token": secrets.token_urlsafe(16)})


def _create(request: PersonRequest, tenant: Tenant, form: KeyForm) -> str | None:
    if not cache.add(f"console:key-form:{tenant.pk}:{form.cleaned_data['token']}", 1, FORM_LIFE_S):
        return None
    days = form.cleaned_data["days"]
    expires_at = timezone.now() + timedelta(days=int(days)) if days else None
    return mint(tenant, form.cleaned_data["name"], request.user, expires_at, limits=form.limits())[1]


def key_limits(request: PersonRequest, tenant_id: str, key_id: UUID) -> HttpResponse:
    """A key's own limits, to be changed as a whole."""
    tenant, key = _managed(request, tenant_id, key_id)
    shown = {"key": f"{key.name} ({key})"}
    form = LimitsForm(request.POST if request.method == "POST" else None, tenant=tenant, key=key)
    if form.is_valid():
        if change_limits(key, form.write) is None:
            messages.info(request, _("Key %(key)s had been revoked before.") % shown)
        else:
            messages.success(request, _("The limits of key %(key)s hold within a second.") % shown)
        return redirect("keys", tenant.id)
    context = {"tenant": tenant, "key": key, "form": form}
    return render(request, "console/key_limits.html", context, status=400 if form.errors else 200)


def revoke_key(request: PersonRequest, tenant_id: str, key_id: UUID) -> HttpResponse:
    """Say what will happen, then do it."""
    tenant, key = _managed(request, tenant_id, key_id)
    if request.method == "POST":
        if revoke(key):
            messages.success(request, _("Key %(key)s was revoked.") % {"key": f"{key.name} ({key})"})
        else:
            messages.info(request, _("Key %(key)s had been revoked before.") % {"key": f"{key.name} ({key})"})
        return redirect("keys", tenant.id)
    return render(request, "console/key_revoke.html", {"tenant": tenant, "key": key, "use": _use(key)})


def _managed(request: PersonRequest, tenant_id: str, key_id: UUID) -> tuple[Tenant, ApiKey]:
    tenant = visible_tenant(request.user, tenant_id)
    if not may_manage(request.user, tenant):
        raise PermissionDenied
    key = tenant.keys.filter(pk=key_id, internal=False).first()
    if key is None:
        raise Http404
    return tenant, key


def _use(key: ApiKey) -> dict[str, int | datetime | None]:
    day_ago = timezone.now() - timedelta(days=1)
    entries = LedgerEntry.objects.filter(
        tenant_id=key.tenant_id, key_id=str(key.pk), finished_at__gte=day_ago
    ).order_by()
    return entries.aggregate(requests=Count("pk"), last=Max("finished_at"))
