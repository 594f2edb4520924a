"""Who asks: the tenant's key of an Authorization header. A console session counts for nothing here."""

from __future__ import annotations

import hashlib

from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from ninja.security import HttpBearer

from appliance.audit.actor import become
from appliance.tenants.models import ApiKey

MAX_KEY_LENGTH = 512


class KeyRequest(HttpRequest):
    """A request whose key was found."""

    auth: ApiKey


class KeyAuth(HttpBearer):
    """Bearer keys, looked up by their SHA-256 as the gateway does. What fails gets one 401, whatever the reason."""

    def authenticate(self, request: HttpRequest, token: str) -> ApiKey | None:
        """The key's row; None for one that is unknown, expired, revoked, internal, or of a tenant that was switched off."""
        token = token.strip()
        if not token or len(token) > MAX_KEY_LENGTH:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
        unexpired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        known = ApiKey.objects.select_related("tenant__plan", "created_by").filter(
            unexpired, digest=digest, internal=False
        )
        key = known.filter(revoked_at=None, tenant__is_active=True).first()
        if key is not None:
            become(f"key:{key.prefix}")
        return key
