"""What operators do to plans, tenants and people: the row and its entry in the audit log, in one transaction.

Checking what was asked for (`full_clean`, forms) is the caller's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.db import transaction

from appliance.audit.record import Detail, record
from appliance.tenants.models import Membership, Plan, Tenant, User


@transaction.atomic
def create_plan(plan: Plan) -> None:
    """Make a plan."""
    plan.save(force_insert=True)
    record("plan.create", plan.name)


@transaction.atomic
def change_plan(name: str, write: Callable[[Plan], None]) -> Plan | None:
    """Let `write` change a plan's row; None when there is no such plan. The gateway goes by it within a second.

    Checked here, because only the locked row says what it becomes. A change to what is there already leaves no entry.
    Raises: ValidationError.
    """
    row = Plan.objects.select_for_update(no_key=True).filter(name=name).first()
    if row is None:
        return None
    before = _details(row)
    write(row)
    row.full_clean()
    after = _details(row)
    changed = [field for field in after if after[field] != before[field]]
    if changed:
        row.save(update_fields=changed)
        told = {f"{field}.before": before[field] for field in changed}
        told |= {f"{field}.after": after[field] for field in changed}
        record("plan.change", row.name, details=told)
    return row


def _details(plan: Plan) -> dict[str, Detail]:
    """A plan's fields as the audit log keeps them."""
    fields = {field.attname: getattr(plan, field.attname) for field in plan._meta.concrete_fields}
    return {
        name: json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, dict) else value
        for name, value in fields.items()
    }


@transaction.atomic
def create_tenant(tenant: Tenant) -> None:
    """Make a tenant."""
    tenant.save(force_insert=True)
    details = {"name": tenant.name, "plan": tenant.plan.name, "policy": str(tenant.adapter_policy)}
    record("tenant.create", tenant.pk, tenant=tenant.pk, details=details)


def set_policy(tenant_id: str, policy: str) -> bool:
    """Choose when a tenant's adapters are used; False when there is no such tenant."""
    return _set(
        tenant_id, "adapter_policy", policy, lambda before: ("tenant.set_policy", {"policy": policy, "before": before})
    )


def set_signoff(tenant_id: str, needed: bool) -> bool:
    """Say whether a tenant's fine-tunes wait until their data's reports are signed off; False without such a tenant."""
    return _set(tenant_id, "needs_signoff", needed, lambda _: ("tenant.set_signoff", {"needed": needed}))


def set_active(tenant_id: str, active: bool) -> bool:
    """Switch a tenant on or off; False when there is no such tenant. The gateway refuses its keys within a second."""
    return _set(tenant_id, "is_active", active, lambda _: ("tenant.resume" if active else "tenant.suspend", None))


@transaction.atomic
def _set(tenant_id: str, field: str, value: Any, entry: Callable[[Any], tuple[str, dict[str, Detail] | None]]) -> bool:
    """Set a field of a tenant's row; what stays as it was leaves no entry, which is made from what it was before."""
    row = Tenant.objects.select_for_update(no_key=True).filter(pk=tenant_id).first()
    if row is None:
        return False
    before = getattr(row, field)
    if before != value:
        setattr(row, field, value)
        row.save(update_fields=(field,))
        action, details = entry(before)
        record(action, row.pk, tenant=row.pk, details=details)
    return True


@transaction.atomic
def create_user(user: User, tenant: Tenant | None = None, role: str = Membership.Role.DEVELOPER) -> None:
    """Make a person whose password is set, and their place in a tenant."""
    user.save(force_insert=True)
    if tenant is not None:
        Membership.objects.create(user=user, tenant=tenant, role=role)
    place = tenant.pk if tenant else None
    details = {"operator": user.is_staff, "role": str(role) if tenant else None}
    record("user.create", user.username, tenant=place, details=details)
