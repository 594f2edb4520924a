"""What a tenant's program does with batches, and what is read of them afterwards."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.db import connection

from appliance.batches.lease import expiry
from appliance.batches.models import Batch
from appliance.batches.states import TERMINAL
from appliance.tenants.models import ApiKey
from appliance.training import files
from appliance.training.models import StoredFile
from tests.appliance.api import callers
from tests.waiting import wait_until

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
OVER = [status.value for status in TERMINAL]
LONG_S = 120.0


def request(custom_id: str, orders: str = "", **fields: Any) -> dict[str, Any]:
    """A line that asks the fake gateway, which obeys the orders; its prompt is the custom_id."""
    messages = [{"role": "user", "content": custom_id}]
    body = {"model": "tiny-coder", "messages": messages, "user": orders, **fields.pop("body", {})}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body, **fields}


def jsonl(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class Caller(callers.Caller):
    """A program with a key that makes batches."""

    def input(self, *rows: dict[str, Any], data: bytes | None = None) -> StoredFile:
        """An uploaded file of requests."""
        return self.file(name="requests.jsonl", data=jsonl(*rows) if data is None else data, purpose="batch")

    def begin(self, *rows: dict[str, Any], data: bytes | None = None, endpoint: str = CHAT, **more: Any) -> Batch:
        """A batch of these requests, begun through the API."""
        asked = {
            "input_file_id": self.input(*rows, data=data).pk,
            "endpoint": endpoint,
            "completion_window": "24h",
            **more,
        }
        return Batch.objects.get(pk=self.post("/v1/batches", asked)["id"])


def known(secret: str) -> bool:
    """Whether the gateway's directory has this key; asked from the fake gateway's thread."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    try:
        return ApiKey.objects.filter(digest=digest, revoked_at=None, lane="batch", tenant__is_active=True).exists()
    finally:
        connection.close()


def over(batch: Batch, timeout_s: float = LONG_S) -> Batch:
    """The batch once it is over."""
    found: Batch = wait_until(lambda: Batch.objects.filter(pk=batch.pk, status__in=OVER).first(), timeout_s)
    return found


def rows_of(file: StoredFile | None) -> list[dict[str, Any]]:
    """The lines of an output or error file; each custom_id is there once."""
    if file is None:
        return []
    rows = [json.loads(line) for line in files.path(file).read_bytes().splitlines()]
    ids = [row["custom_id"] for row in rows]
    assert len(set(ids)) == len(ids)
    return rows


def hold(batch: Batch) -> None:
    """Let somebody else hold the batch for a lease's time."""
    Batch.objects.filter(pk=batch.pk).update(lease_holder="somebody else", lease_expires_at=expiry())
