"""Conversations as a gateway's worker writes them, and the meter's look at them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

from appliance.conversations import acts
from appliance.conversations.keeper import Keeper
from appliance.conversations.models import Conversation
from appliance.conversations.place import vault
from appliance.tenants.models import Tenant
from inference.conversations.segments import About, Segment, Texts

ASKED = "What does <script>alert('asked')</script> do?"
ANSWERED = "It shows <img src=x onerror=alert('answered')>."


def turn_on(tenant: Tenant, days: int = 30) -> None:
    acts.turn_on(tenant, days, 1024, "asked for")


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def write(
    tenant: Tenant, *, day: date | None = None, at: datetime | None = None, close: bool = True, **more: Any
) -> str:
    """One conversation in a file of its own; its request's id."""
    now = datetime.now(UTC)
    place, day = vault(), day or now.date()
    request = {"model": "tiny-coder", "stream": True, "messages": [{"role": "user", "content": ASKED}]}
    answer = event(ANSWERED[:9]) + event(ANSWERED[9:], "stop") + b"data: [DONE]\n\n"
    fields: dict[str, Any] = {
        "request_id": f"req-{uuid4().hex}", "at": (at or now).timestamp(), "key_id": str(uuid4()), "model": "tiny-coder",
        "endpoint": "chat", "stream": True, "prompt_tokens": 12, "completion_tokens": 9, "outcome": "completed",
        "http_status": 200, "cut": False,
    }  # fmt: skip
    texts = more.pop("texts", None) or Texts(json.dumps(request).encode(), answer)
    segment = Segment(place.day_dir(tenant.pk, day), place.ensure_key(tenant.pk, day))
    segment.append(About(**{**fields, **more}), texts)
    if close:
        segment.close()
    return str({**fields, **more}["request_id"])


def kept(tenant: Tenant, **more: Any) -> Conversation:
    """One that the list has."""
    request_id = write(tenant, **more)
    Keeper(vault()).list_new()
    return Conversation.objects.get(pk=request_id)
