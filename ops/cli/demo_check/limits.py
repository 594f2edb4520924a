"""The claim about a rate: the key's own row, and exactly as many requests of it in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ops.cli.demo_check.evidence import NORTH, Evidence
from ops.cli.demo_check.requests import not_billed


def rate_kept(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """As many requests as the key's row allows are booked on it, and the refused one is not."""
    yield from not_billed(measured, shown, evidence)
    key = evidence.one("SELECT tenant_id, requests_per_minute FROM tenants_apikey WHERE id = %s", shown["key"])
    rows = evidence.all("SELECT request_id, http_status FROM ledger_ledgerentry WHERE key_id = %s", str(shown["key"]))
    if key is None or key["tenant_id"] != NORTH or key["requests_per_minute"] != len(rows):
        yield f"{len(rows)} requests are booked on the key, whose row says {key}"
    if sorted(row["request_id"] for row in rows) != sorted(shown["answered"]) or measured["answered"] != len(rows):
        yield "other requests are booked on the key than were answered"
    if any(row["http_status"] != 200 for row in rows):
        yield "a request within the rate was not answered"
    if (measured["status"], measured["code"]) != (429, "rate_limit_exceeded"):
        yield f"not the documented error: {measured['status']} {measured['code']}"
