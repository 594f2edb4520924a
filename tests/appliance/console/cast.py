"""The cast of the console's tests: two tenants, their people, an operator and somebody who belongs to nobody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.test import Client
from django.utils import timezone

from appliance.ledger.models import LedgerEntry
from appliance.tenants.models import Plan, Tenant, User

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Cast:
    """Acme has an owner and a developer; the rival belongs to another tenant."""

    plan: Plan
    acme: Tenant
    rivals: Tenant
    operator: User
    owner: User
    developer: User
    rival: User
    stranger: User

    def client(self, name: str | None) -> Client:
        """A browser in which this person is logged in; None is anonymous."""
        client = Client()
        if name is not None:
            client.force_login(getattr(self, name))
        return client


def book(
    tenant: str, prompt: int = 100, completion: int = 10, at: datetime | None = None, **more: object
) -> LedgerEntry:
    """One request in the ledger."""
    fields: dict[str, Any] = {
        "request_id": f"req_{uuid4().hex}", "key_id": None, "model": "tiny-coder", "endpoint": "chat", "cached_tokens": 0,
        "started_at": at or timezone.now(), "finished_at": at or timezone.now(), "engine_prompt_tokens": prompt,
        "outcome": "completed", "http_status": 200, "ttft_ms": 42,
    }  # fmt: skip
    return LedgerEntry.objects.create(
        tenant_id=tenant, prompt_tokens=prompt, completion_tokens=completion, **{**fields, **more}
    )
