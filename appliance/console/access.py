"""Who may see what: operators everything, members their own tenants, and a stranger's tenant does not exist.

Every address needs a log-in (Django's LoginRequiredMiddleware); what a page shows beyond that it asks here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse

from appliance.batches.models import Batch
from appliance.console.queries import text
from appliance.registry.models import Adapter
from appliance.tenants.models import SYSTEM_TENANT, Membership, Tenant, User
from appliance.training.models import Erasure, Job, StoredFile

P = ParamSpec("P")
M = TypeVar("M", bound=Model)


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


def chosen_tenant(request: PersonRequest, query: Mapping[str, str]) -> Tenant | None:
    """The tenant that the query names, else the first one this person may open; None where there is none.

    Raises: Http404, for a name this person may not know as for an unknown one.
    """
    name = text(query, "tenant")
    if name:
        return visible_tenant(request.user, name)
    return visible_tenants(request.user).exclude(pk=SYSTEM_TENANT).order_by("-is_active", "pk").first()


def may_manage(user: User, tenant: Tenant) -> bool:
    """Whether this person may change what is the tenant's (keys, fine-tunes, files): operators and the tenant's owners."""
    return user.is_staff or Membership.objects.filter(user=user, tenant=tenant, role=Membership.Role.OWNER).exists()


def owned_by_visible(user: User, rows: QuerySet[M]) -> QuerySet[M]:
    """Of rows that belong to tenants, those that this person may see."""
    return rows if user.is_staff else rows.filter(tenant__memberships__user=user)


def visible_job(user: User, job_id: str) -> Job:
    """One fine-tune by its id.

    Raises: Http404, for somebody else's as for an unknown one.
    """
    rows = Job.objects.select_related("tenant", "base", "adapter", "training_file", "validation_file", "requested_by")
    return _one(owned_by_visible(user, rows).filter(pk=job_id))


def visible_file(user: User, file_id: str) -> StoredFile:
    """One file for fine-tuning that is not deleted by its id; files of batches are on their batch's page.

    Raises: Http404, for somebody else's as for an unknown one.
    """
    rows = StoredFile.objects.select_related("tenant", "dataset", "key").filter(deleted_at=None, purpose="fine-tune")
    return _one(owned_by_visible(user, rows).filter(pk=file_id))


def visible_erasure(user: User, erasure_id: UUID) -> Erasure:
    """One erasure by its id.

    Raises: Http404, for somebody else's as for an unknown one.
    """
    return _one(owned_by_visible(user, Erasure.objects.select_related("file")).filter(pk=erasure_id))


def visible_batch(user: User, batch_id: str) -> Batch:
    """One batch by its id.

    Raises: Http404, for somebody else's as for an unknown one.
    """
    rows = Batch.objects.select_related("tenant", "key", "input_file", "output_file", "error_file")
    return _one(owned_by_visible(user, rows).filter(pk=batch_id))


def visible_adapter(user: User, adapter_id: UUID) -> Adapter:
    """One adapter by its id.

    Raises: Http404, for somebody else's as for an unknown one.
    """
    rows = Adapter.objects.select_related("tenant", "base", "job__requested_by", "evaluation", "approval__user")
    return _one(owned_by_visible(user, rows).filter(pk=adapter_id))


def _one(rows: QuerySet[M]) -> M:
    row = rows.first()
    if row is None:
        raise Http404
    return row
