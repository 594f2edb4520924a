"""What owners and operators do to a tenant's log of conversations: the row and its entry in the audit log, in one
transaction. The gateway goes by the row within a second.

Who may is the caller's matter, but who did is always in the audit log: turning on is the record of consent.
"""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.utils import timezone

from appliance.audit import actor
from appliance.audit.record import Detail, record
from appliance.conversations.errors import NoLog, NotForSystem
from appliance.conversations.models import Conversation, ConversationLog, Segment
from appliance.conversations.place import vault
from appliance.tenants.models import SYSTEM_TENANT, Tenant


def log_of(tenant: Tenant) -> ConversationLog:
    """A tenant's choice; where it made none, that it is off."""
    return ConversationLog.objects.filter(tenant=tenant).first() or ConversationLog(
        tenant=tenant, changed_at=tenant.created_at, changed_by=""
    )


@transaction.atomic
def turn_on(tenant: Tenant, days: int, max_mib: int, reason: str = "") -> ConversationLog:
    """Keep conversations from now on, or for another time; what is there already leaves no entry.

    Raises: ValidationError, NotForSystem.
    """
    if tenant.pk == SYSTEM_TENANT:
        raise NotForSystem("the system tenant has no conversations")
    # Nothing is this tenant's of what an earlier one of the same name may have left.
    row = _locked(tenant) or ConversationLog(tenant=tenant, erased_at=timezone.now())
    before = (row.is_on, row.days, row.max_mib)
    if before == (True, days, max_mib):
        return row
    action = "conversations.change" if row.is_on else "conversations.on"
    row.is_on, row.days, row.max_mib = True, days, max_mib
    _save(row, action, {"days": days, "max_mib": max_mib}, reason)
    return row


@transaction.atomic
def turn_off(tenant: Tenant, reason: str = "") -> bool:
    """Keep nothing more; what is there stays until its time is over. False where it was off."""
    row = _locked(tenant)
    if row is None or not row.is_on:
        return False
    row.is_on = False
    _save(row, "conversations.off", {}, reason)
    return True


def erase(tenant: Tenant, reason: str = "") -> int:
    """Remove everything that is kept, its keys first; how many conversations that were.

    Raises: NoLog. OSError: then the meter goes on with it.
    """
    with transaction.atomic():
        row = _locked(tenant)
        if row is None:
            raise NoLog("this tenant never had its conversations kept")
        count = Conversation.objects.filter(tenant=tenant).count()
        Segment.objects.filter(tenant=tenant).delete()
        row.erased_at = timezone.now()
        row.save(update_fields=("erased_at",))
        record("conversations.erase", tenant.pk, tenant=tenant.pk, details=_with(reason, {"conversations": count}))
        transaction.on_commit(partial(vault().erase_tenant, tenant.pk))
    return count


@transaction.atomic
def record_read(tenant: Tenant, what: str, subject: str, reason: str = "", **details: Detail) -> None:
    """Somebody is about to read: `what` is list, read or export."""
    record(f"conversations.{what}", subject, tenant=tenant.pk, details=_with(reason, details))


def _locked(tenant: Tenant) -> ConversationLog | None:
    return ConversationLog.objects.select_for_update().filter(tenant=tenant).first()


def _save(row: ConversationLog, action: str, details: dict[str, Detail], reason: str) -> None:
    row.changed_at, row.changed_by = timezone.now(), actor.current()
    row.full_clean(validate_unique=False, exclude=("tenant",))
    row.save()
    record(action, row.tenant_id, tenant=row.tenant_id, details=_with(reason, details))


def _with(reason: str, details: dict[str, Detail]) -> dict[str, Detail]:
    return details | ({"reason": reason} if reason else {})
