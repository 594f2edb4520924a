"""The list of tenants a person may open, and the form that makes a new one (operators)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appliance.console import words
from appliance.console.access import PersonRequest, operator_only, visible_tenants
from appliance.console.queries import text
from appliance.tenants.acts import create_tenant
from appliance.tenants.models import ApiKey, Membership, Tenant

PAGE_SIZE = 50


def tenants(request: PersonRequest) -> HttpResponse:
    """Search and pages; the search stands in the address."""
    query = text(request.GET, "q")
    rows = visible_tenants(request.user)
    if query:
        rows = rows.filter(Q(id__icontains=query) | Q(name__icontains=query))
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {"page": page, "rows": _with_counts(list(page.object_list)), "query": query}
    return render(request, "console/tenants.html", context)


def _with_counts(shown: list[Tenant]) -> list[dict[str, Any]]:
    ids = [tenant.id for tenant in shown]
    people = _counts(Membership.objects.filter(tenant__in=ids))
    keys = _counts(ApiKey.objects.filter(tenant__in=ids, revoked_at=None, internal=False).order_by())
    return [
        {
            "tenant": tenant,
            "word": words.ACTIVE if tenant.is_active else words.INACTIVE,
            "people": people.get(tenant.id, 0),
            "keys": keys.get(tenant.id, 0),
        }
        for tenant in shown
    ]


def _counts(rows: Any) -> dict[str, int]:
    return dict(rows.values_list("tenant_id").annotate(Count("pk")))


class TenantForm(forms.ModelForm):  # type: ignore[type-arg]  # only the stubs' class is generic
    """A new tenant."""

    class Meta:
        model = Tenant
        fields = ("id", "name", "plan")
        help_texts = {  # noqa: RUF012 - Django's own shape
            "id": gettext_lazy("Short and permanent: it stands in addresses, bills and adapter names."),
            "name": gettext_lazy("As people call it; can be changed later."),
        }

    def clean_id(self) -> str:
        """Keep the one id that is an address of ours free."""
        value: str = self.cleaned_data["id"]
        if value == "new":
            raise forms.ValidationError(_("This id is taken by the console itself."))
        return value


@operator_only
def new(request: PersonRequest) -> HttpResponse:
    """The form; a made tenant is shown at once."""
    form = TenantForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        tenant = form.save(commit=False)
        create_tenant(tenant)
        messages.success(request, _("Tenant %(id)s was created. Create its first key next.") % {"id": tenant.id})
        return redirect("tenant", tenant.id)
    return render(request, "console/tenant_new.html", {"form": form}, status=200 if not form.errors else 400)
