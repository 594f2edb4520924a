"""The console's map: which pages there are and who is shown a link to them. The pages themselves check access."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from appliance.console.waiting import waiting_count
from appliance.tenants.models import User


@dataclass(frozen=True)
class Page:
    """One entry of the sidebar. `icon` is a name of the Material Symbols font; `count` tells what waits there."""

    route: str
    title: Any
    icon: str
    operators_only: bool = False
    in_editor: bool = False
    count: Callable[[User], int] | None = None


PAGES = (
    Page("overview", pgettext_lazy("page", "Overview"), "monitoring"),
    Page("playground", pgettext_lazy("page", "Playground"), "forum"),
    Page("serving", pgettext_lazy("page", "Serving"), "dns", operators_only=True),
    Page("capacity", pgettext_lazy("page", "Capacity"), "speed", operators_only=True),
    Page("models", pgettext_lazy("page", "Models"), "deployed_code", operators_only=True),
    Page("fine_tuning", pgettext_lazy("page", "Fine-tuning"), "model_training"),
    Page("data", pgettext_lazy("page", "Data"), "dataset"),
    Page("batches", pgettext_lazy("page", "Batches"), "stacks"),
    Page("approvals", pgettext_lazy("page", "Approvals"), "fact_check", count=waiting_count),
    Page("tenants", pgettext_lazy("page", "Tenants"), "groups"),
    Page("usage", pgettext_lazy("page", "Usage"), "bar_chart"),
    Page("guide", pgettext_lazy("page", "Guide"), "menu_book"),
    Page("upgrades", pgettext_lazy("page", "Upgrades"), "upgrade", operators_only=True),
    Page("acceptance", pgettext_lazy("page", "Acceptance"), "verified", operators_only=True),
    Page("admin:index", pgettext_lazy("page", "Records"), "database", operators_only=True, in_editor=True),
    Page("audit", pgettext_lazy("page", "Audit"), "history", operators_only=True),
)
# Pages below another one light up its entry.
PARENTS = {
    "tenant": "tenants",
    "tenant_new": "tenants",
    "keys": "tenants",
    "key_limits": "tenants",
    "key_revoke": "tenants",
    "conversations": "tenants",
    "conversations_erase": "tenants",
    "conversation": "tenants",
    "job": "fine_tuning",
    "job_cancel": "fine_tuning",
    "batch": "batches",
    "batch_cancel": "batches",
    "file": "data",
    "file_delete": "data",
    "file_erase": "data",
    "erasures": "data",
    "erasure": "data",
    "approval_approve": "approvals",
    "approval_reject": "approvals",
    "upgrade": "upgrades",
    "acceptance_run": "acceptance",
}
# An adapter's pages hang below the models for operators; a member comes to them from a fine-tune.
ADAPTER_PAGES = {"adapter", "adapter_withdraw"}


def links(request: HttpRequest, user: User) -> list[dict[str, Any]]:
    """The entries this person sees, the present one marked."""
    match = request.resolver_match
    name = match.view_name if match else ""
    present = PARENTS.get(name, name)
    if name in ADAPTER_PAGES:
        present = "models" if user.is_staff else "fine_tuning"
    return [
        {
            "title": page.title,
            "icon": page.icon,
            "link": reverse(page.route),
            "active": page.route == present,
            "count": page.count(user) if page.count else 0,
        }
        for page in PAGES
        if user.is_staff or not page.operators_only
    ]


def _is_operator(request: HttpRequest) -> bool:
    return bool(request.user.is_authenticated and request.user.is_staff)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The same entries in unfold's words, then the records it can edit."""
    pages = [
        {
            "title": page.title,
            "icon": page.icon,
            "link": reverse(page.route),
            "active": False,
            "permission": _is_operator,
        }
        for page in PAGES
        if not page.in_editor
    ]
    return [{"items": pages}, {"title": _("Records"), "separator": True, "items": _records()}]


def _records() -> list[dict[str, Any]]:
    rows = (
        ("tenants_plan", _("Plans"), "sell"),
        ("tenants_tenant", _("Tenants"), "groups"),
        ("tenants_user", _("People"), "person"),
        ("tenants_membership", _("Memberships"), "badge"),
        ("tenants_apikey", _("API keys"), "key"),
        ("fleet_deployment", _("Deployments"), "rocket_launch"),
        ("registry_modelversion", _("Model versions"), "deployed_code"),
        ("registry_engineslot", _("Engine slots"), "memory"),
        ("ledger_ledgerentry", _("Ledger"), "receipt_long"),
    )
    return [
        {"title": title, "icon": icon, "link": reverse(f"admin:{name}_changelist"), "permission": _is_operator}
        for name, title, icon in rows
    ]


def console(request: HttpRequest) -> dict[str, Any]:
    """Template context of every page: what the base template shows around it."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {"navigation": []}
    return {"navigation": partial(links, request, user)}  # called where it is shown: a live part shows none
