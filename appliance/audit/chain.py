"""An entry of the log without its table, and the hash that ties it to the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64  # what the first entry follows


@dataclass(frozen=True)
class Entry:
    """What is hashed. `details` holds text, whole numbers, booleans, None and lists of them: they come back from the
    database as they went in, a float may not."""

    seq: int
    at: datetime
    actor: str
    tenant_id: str | None
    action: str
    subject: str
    details: Mapping[str, Any]
    previous_hash: str


def digest(entry: Entry) -> str:
    """SHA-256 over all fields as canonical JSON, in hexadecimal."""
    fields = asdict(entry) | {"at": entry.at.astimezone(UTC).isoformat(timespec="microseconds")}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
