"""Reading what is kept: a tenant's list, one conversation, all of them as JSON lines. Recording that somebody does is `acts`'
matter and comes first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from appliance.conversations.acts import log_of
from appliance.conversations.models import Conversation
from appliance.conversations.place import vault
from appliance.conversations.said import Exchange, exchange
from appliance.tenants.models import Tenant
from inference.conversations import segments
from inference.conversations.errors import ConversationError

CHUNK = 100


def readable(tenant: Tenant) -> QuerySet[Conversation]:
    """What may still be read; a record whose time is over is not, though its bytes go with its whole day."""
    since = timezone.now() - timedelta(days=log_of(tenant).days)
    return Conversation.objects.filter(tenant=tenant, at__gte=since).select_related("segment")


def read(row: Conversation) -> Exchange:
    """What was asked and answered.

    Raises: Erased, Damaged.
    """
    place, segment = vault(), row.segment
    key = place.open_key(row.tenant_id, segment.day)
    path = place.day_dir(row.tenant_id, segment.day) / segment.name
    texts = segments.read_texts(path, key, row.offset)
    return exchange(texts.request, texts.answer, row.stream)


def facts(row: Conversation) -> dict[str, Any]:
    """What is known of a conversation without its texts."""
    return {
        "request_id": row.request_id,
        "at": row.at.isoformat(timespec="milliseconds"),
        "key_id": row.key_id,
        "model": row.model,
        "endpoint": row.endpoint,
        "stream": row.stream,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "outcome": row.outcome,
        "http_status": row.http_status,
        "cut": row.cut,
    }


def whole(row: Conversation) -> dict[str, Any]:
    """A conversation with its texts; where they are gone, why."""
    try:
        found = read(row)
    except ConversationError as error:
        return facts(row) | {"request": None, "answers": None, "error": error.code}
    return facts(row) | {"request": found.request, "answers": [asdict(choice) for choice in found.answers]}


def lines(tenant: Tenant) -> Iterator[bytes]:
    """All that may be read, the oldest first, one JSON object on each line; a few at a time are in memory."""
    rows = readable(tenant).order_by("at", "request_id")
    for row in rows.iterator(chunk_size=CHUNK):
        yield json.dumps(whole(row), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
