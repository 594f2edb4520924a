"""Who may see what: operators everything, members their own tenants, and a stranger's tenant does not exist.

Every address needs a log-in (Django's LoginRequiredMiddleware); what a page shows beyond that it asks here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse

from appliance.tenants.models import Membership, Tenant, User

P = ParamSpec("P")


class PersonRequest(HttpRequest):
    """A request of somebody who is logged in."""

    user: User


def operator_only(
    view: Callable[Concatenate[PersonRequest, P], HttpResponse], /
) -> Callable[Concatenate[PersonRequest, P], HttpResponse]:
    """Let operators in; everyone else gets 403."""

    @wraps(view)
    def guarded(request: PersonRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_staff:
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return guarded


def visible_tenants(user: User) -> QuerySet[Tenant]:
    """The tenants whose pages this person may open."""
    tenants = Tenant.objects.select_related("plan")
    return tenants if user.is_staff else tenants.filter(memberships__user=user)


def visible_tenant(user: User, tenant_id: str) -> Tenant:
    """One tenant by its id; somebody else's answers exactly as an unknown one.

    Raises: Http404.
    """
    tenant = visible_tenants(user).filter(id=tenant_id).first()
    if tenant is None:
        raise Http404
    return tenant


def may_manage_keys(user: User, tenant: Tenant) -> bool:
    """Whether this person may create and revoke the tenant's keys: operators and the tenant's owners."""
    return user.is_staff or Membership.objects.filter(user=user, tenant=tenant, role=Membership.Role.OWNER).exists()
