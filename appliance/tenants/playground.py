"""Keys for the playground: made for one browser session, good for ten minutes, one of them live at a time.

They are rows like every key, so that requests, usage and bills need no second way; lists of keys leave them out, and the
tenant API refuses them: they open inference and nothing else. The audit log has the first one that a session gets for a tenant,
and not those that follow it every ten minutes.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from appliance.tenants.keys import mint
from appliance.tenants.models import ApiKey, Tenant, User

NAME = "playground"
LIFETIME = timedelta(minutes=10)
KEPT = timedelta(days=8)  # beyond the longest window of the usage page, which names the key


def key_name(session: str) -> str:
    """What the keys of one session are called. The session can't be found from it."""
    return f"{NAME} {hashlib.sha256(session.encode()).hexdigest()[:12]}"


@transaction.atomic
def open_key(tenant: Tenant, user: User, session: str) -> tuple[ApiKey, str]:
    """Make the session's key for a tenant and end the one it had; streams that run go on."""
    User.objects.select_for_update(no_key=True).get(pk=user.pk)  # two windows of one session at once
    sweep()
    close_keys(user, session)
    name = key_name(session)
    known = ApiKey.objects.filter(tenant=tenant, created_by=user, internal=True, name=name).exists()
    return mint(tenant, name, user, timezone.now() + LIFETIME, internal=True, audited=not known)


def close_keys(user: User, session: str) -> int:
    """End what a session has, for instance because the person logs out; how many keys that were."""
    live = ApiKey.objects.filter(internal=True, created_by=user, name=key_name(session), revoked_at=None)
    return live.update(revoked_at=timezone.now())


def sweep() -> None:
    """Take expired internal keys out of the gateway's view, and remove those that no page names any more."""
    now = timezone.now()
    expired = ApiKey.objects.filter(internal=True, expires_at__lt=now)
    expired.filter(revoked_at=None).update(revoked_at=now)
    expired.filter(expires_at__lt=now - KEPT).delete()


def playground_keys() -> QuerySet[ApiKey]:
    """All keys that the playground made and that are not swept yet."""
    return ApiKey.objects.filter(internal=True, name__startswith=f"{NAME} ")
