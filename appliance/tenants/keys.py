"""Minting and revoking API keys. The key leaves this module once, as mint's return value."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass, fields
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from appliance.audit.record import Detail, record
from appliance.tenants.models import ApiKey, Lane, Tenant, User

PREFIX_LENGTH = 11


@dataclass(frozen=True)
class KeyLimits:
    """A key's own limits in time, beside its tenant's; None is none."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    monthly_budget_micros: int | None = None


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
        limits = {field.name: getattr(key, field.name) for field in fields(KeyLimits)}
        details |= {name: limit for name, limit in limits.items() if limit is not None}
    record(action, key.prefix, tenant=key.tenant_id, details=details)
