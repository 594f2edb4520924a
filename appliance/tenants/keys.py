"""Minting, limiting and revoking API keys. The key leaves this module once, as mint's return value."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from appliance.audit.record import Detail, record
from appliance.tenants.models import ApiKey, Lane, Tenant, User

PREFIX_LENGTH = 11


@dataclass(frozen=True)
class KeyLimits:
    """A key's own limits, beside its tenant's; None is none. `allowed_models`: the names that it may ask for."""

    requests_per_minute: int | None = None
    max_concurrency: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    monthly_budget_micros: int | None = None
    allowed_models: list[str] | None = None


UNLIMITED = KeyLimits()


@transaction.atomic
def mint(
    tenant: Tenant,
    name: str,
    created_by: User | None = None,
    expires_at: datetime | None = None,
    internal: bool = False,
    audited: bool = True,
    limits: KeyLimits = UNLIMITED,
    lane: Lane = Lane.INTERACTIVE,
    limits_of: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    """Create a key and return its row with the key itself, which is stored nowhere.

    `internal`: for the appliance's own use, such as the playground's; lists of keys leave it out. `audited`: whether the audit
    log gets an entry; not where one like it was recorded a moment ago. `limits`: on top of those of the tenant's plan.
    `lane`: whose turn comes first where engines are full. `limits_of`: instead of limits of its own those of another key of
    the tenant, as they are at any time, and counted with what that one uses.
    """
    key = "sk-cr-" + secrets.token_urlsafe(32)
    row = ApiKey.objects.create(
        tenant=tenant,
        name=name,
        prefix=key[:PREFIX_LENGTH],
        digest=hashlib.sha256(key.encode()).hexdigest(),
        created_by=created_by,
        expires_at=expires_at,
        internal=internal,
        lane=lane,
        limits_of=limits_of,
        **asdict(limits),
    )
    if audited:
        _record("key.create", row)
    return row, key


@transaction.atomic
def change_limits(key: ApiKey, write: Callable[[ApiKey], None]) -> ApiKey | None:
    """Let `write` change a key's limits; None where it was revoked or is the appliance's own. The gateway goes by them
    within a second.

    Checked here, because only the locked row says what they become. A change to what is there already leaves no entry.
    Raises: ValidationError.
    """
    row = ApiKey.objects.select_for_update(no_key=True).filter(pk=key.pk, revoked_at=None, internal=False).first()
    if row is None:
        return None
    before = limits_of(row)
    write(row)
    row.full_clean()
    after = limits_of(row)
    changed = [name for name in after if after[name] != before[name]]
    if changed:
        row.save(update_fields=changed)
        told: dict[str, Detail] = {"id": str(row.pk), "name": row.name}
        told |= {f"{name}.before": before[name] for name in changed}
        told |= {f"{name}.after": after[name] for name in changed}
        record("key.limits", row.prefix, tenant=row.tenant_id, details=told)
    return row


def limits_of(key: ApiKey) -> dict[str, Any]:
    """A key's own limits by name."""
    return {field.name: getattr(key, field.name) for field in fields(KeyLimits)}


@transaction.atomic
def revoke(key: ApiKey) -> bool:
    """Revoke a key; False when somebody did so before. The gateway refuses it within a second."""
    revoked = ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()) == 1
    if revoked:
        _record("key.revoke", key)
    return revoked


def _record(action: str, key: ApiKey) -> None:
    details: dict[str, Detail] = {"id": str(key.pk), "name": key.name}
    if key.internal:
        details["internal"] = True
    if action == "key.create":
        details |= {name: limit for name, limit in limits_of(key).items() if limit is not None}
    record(action, key.prefix, tenant=key.tenant_id, details=details)
