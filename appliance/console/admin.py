"""The record editor under /admin/: rows that operators change by hand, and rows that only the appliance writes, to read."""

# mypy: allow-subclassing-any=True, disable-error-code="type-arg"
# unfold ships no types, and only the stubs' UserAdmin is generic
from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline  # type: ignore[import-untyped]
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm  # type: ignore[import-untyped]

from appliance.audit.record import record
from appliance.fleet.deployments import is_upgrading
from appliance.fleet.models import Deployment
from appliance.ledger.models import LedgerEntry
from appliance.registry.models import EngineSlot, ModelVersion
from appliance.tenants.models import ApiKey, Membership, Plan, Tenant, User

admin.site.unregister(Group)  # who may do what follows from staff and memberships


class Audited(ModelAdmin):
    """Rows that operators change by hand: each change is an entry of the audit log, with the fields' names only."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Django: a row was added."""
        _record("create", obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Django: a row was changed, or a person's password."""
        _record("change", obj, message)
        return super().log_change(request, obj, message)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Django: one row is to go."""
        with transaction.atomic():
            self._delete(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Django: the rows that were ticked are to go."""
        with transaction.atomic():
            for obj in queryset:
                self._delete(obj)

    def _delete(self, obj: Any) -> None:
        name, tenant = str(obj), _tenant(obj)
        obj.delete()
        record(f"{obj._meta.model_name}.delete", name, tenant=tenant)


def _record(what: str, obj: Model, message: Any = None) -> None:
    changed = (
        [json.dumps(part, sort_keys=True, default=str) for part in message] if isinstance(message, list) else message
    )
    with transaction.atomic():
        details = {"changed": changed} if changed else {}
        record(f"{obj._meta.model_name}.{what}", str(obj), tenant=_tenant(obj), details=details)


def _tenant(obj: Model) -> str | None:
    return obj.pk if isinstance(obj, Tenant) else getattr(obj, "tenant_id", None)


class ReadOnly(ModelAdmin):
    """Rows that only the appliance writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds these by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes these by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes these by hand."""
        return False


class MembershipInline(TabularInline):
    """A person's places in tenants."""

    model = Membership
    extra = 0
    autocomplete_fields = ("tenant",)


@admin.register(User)
class PersonAdmin(UserAdmin, Audited):
    """People: who logs in, who is an operator (staff), who belongs to which tenant."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_staff", "is_active", "last_login")
    list_filter = ("is_staff", "is_active")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Personal info"), {"fields": ("first_name", "last_name", "email")}),
        (_("Permissions"), {"fields": ("is_active", "is_staff", "is_superuser")}),
        (_("Important dates"), {"fields": ("last_login", "date_joined")}),
    )
    inlines = (MembershipInline,)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Django does this one without a transaction."""
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


class PlanForm(forms.ModelForm):
    """A plan. An empty box of models' limits is none."""

    class Meta:
        model = Plan
        fields = "__all__"
        help_texts = {  # noqa: RUF012 - Django's own shape
            "requests_per_minute": _("Empty: no limit."),
            "tokens_per_minute": _("Input and output together. Empty: no limit."),
            "max_concurrency": _("Empty: no limit."),
            "tokens_per_day": _("A calendar day, UTC. Empty: no limit."),
            "tokens_per_month": _("A calendar month, UTC. Empty: no limit."),
            "monthly_budget_micros": _("Millionths of the currency for a calendar month, UTC. Empty: no limit."),
            "model_limits": _(
                "JSON by base model: requests_per_minute, tokens_per_minute, max_concurrency. They hold beside the plan's."
            ),
            "weight": _("Its tenants' share against others' where requests queue; 200 gets twice what 100 gets."),
        }

    def clean_model_limits(self) -> Any:
        """Nothing written is no limit."""
        value = self.cleaned_data["model_limits"]
        return {} if value is None else value


@admin.register(Plan)
class PlanAdmin(Audited):
    """Limits and prices."""

    form = PlanForm
    list_display = (
        "name",
        "max_context_tokens",
        "requests_per_minute",
        "tokens_per_minute",
        "currency",
        "input_price_micros",
        "cached_price_micros",
        "output_price_micros",
    )
    search_fields = ("name",)


@admin.register(Tenant)
class TenantAdmin(Audited):
    """Tenants; switching one off refuses its keys. Nothing deletes a tenant here: its ledger stays."""

    list_display = ("id", "name", "plan", "is_active", "created_at")
    search_fields = ("id", "name")
    list_filter = ("is_active", "plan")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The id is permanent."""
        return ("id",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Switch it off instead."""
        return False


@admin.register(Membership)
class MembershipAdmin(Audited):
    """Who belongs to which tenant as what."""

    list_display = ("user", "tenant", "role")
    list_filter = ("role",)
    search_fields = ("user__username", "tenant__id")
    autocomplete_fields = ("user", "tenant")


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly):
    """Keys are created and revoked on a tenant's page."""

    list_display = ("name", "prefix", "tenant", "created_at", "expires_at", "revoked_at", "internal")
    list_filter = ("internal",)
    search_fields = ("name", "prefix", "tenant__id")
    fields = (
        "tenant", "name", "prefix", "created_by", "created_at", "expires_at", "revoked_at", "requests_per_minute",
        "max_concurrency", "tokens_per_minute", "tokens_per_day", "tokens_per_month", "monthly_budget_micros",
        "allowed_models", "internal",
    )  # fmt: skip


@admin.register(Deployment)
class DeploymentAdmin(Audited):
    """What should run; the pool makes it so within seconds. Stop one instead of deleting it.

    Which version a name leads to is `coderack model serve`'s and upgrades' to change, which keep the name served.
    """

    list_display = ("model", "replicas", "devices_each", "max_model_len", "slot", "running", "serves")
    list_filter = ("running",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A stopped one is begun by `coderack model serve`, which ends the name's other versions."""
        return ("model", "serves") if obj is None or obj.running else ("model", "serves", "running")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """`coderack model serve` makes them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """An upgrade relies on its deployments."""
        return super().has_change_permission(request, obj) and not (obj is not None and is_upgrading(obj.name))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Deleting would take running engines' rows along."""
        return False


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnly):
    """Verified weights."""

    list_display = ("name", "preset", "digest", "max_model_len", "fim", "created_at")
    search_fields = ("name", "digest")


@admin.register(EngineSlot)
class EngineSlotAdmin(ReadOnly):
    """Installed engines."""

    list_display = ("name", "flavour", "engine_version", "digest", "created_at")


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnly):
    """Metered requests."""

    list_display = ("request_id", "tenant_id", "model", "outcome", "prompt_tokens", "completion_tokens", "finished_at")
    search_fields = ("request_id__exact", "tenant_id__exact")
    list_filter = ("outcome", "endpoint")
    show_full_result_count = False
