"""What a tenant used, as rows of the ledger, and its sums as the API shows them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from appliance.ledger.models import LedgerEntry
from tests.appliance.api.callers import MODEL, Caller

NOON = 1_780_000_000 // 86400 * 86400 + 43200


def entry(caller: Caller, at: float = NOON, tokens: tuple[int, int, int] = (100, 40, 7), **more: Any) -> LedgerEntry:
    """A row that is not saved yet; tokens are input, the cached part of it, and output."""
    ended = datetime.fromtimestamp(at, UTC)
    columns = {"tenant_id": caller.tenant.pk, "key_id": str(caller.key.pk), "model": MODEL, **more}
    return LedgerEntry(
        request_id=f"req-{uuid.uuid4()}", endpoint="chat", started_at=ended, finished_at=ended, prompt_tokens=tokens[0],
        cached_tokens=tokens[1], completion_tokens=tokens[2], engine_prompt_tokens=tokens[0], outcome="completed",
        http_status=200, **columns,
    )  # fmt: skip


def used(caller: Caller, at: float = NOON, tokens: tuple[int, int, int] = (100, 40, 7), **more: Any) -> LedgerEntry:
    """A row of the ledger."""
    row = entry(caller, at, tokens, **more)
    row.save()
    return row


def days(caller: Caller, path: str) -> list[dict[str, Any]]:
    """The buckets of a page around NOON; `path` brings a query."""
    whole = path.replace("start_time=0", f"start_time={NOON - 86400}&end_time={NOON + 86400}")
    buckets: list[dict[str, Any]] = caller.get(whole)["data"]
    return buckets


def pages(caller: Caller, path: str) -> list[dict[str, Any]]:
    """All buckets, page after page."""
    found: list[dict[str, Any]] = []
    page = ""
    while True:
        answer = caller.get(path + (f"&page={page}" if page else ""))
        found += answer["data"]
        assert answer["has_more"] == (answer["next_page"] is not None)
        page = answer["next_page"]
        if not page:
            return found
