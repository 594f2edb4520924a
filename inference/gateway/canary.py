"""Which requests of a name go to its canary, a model's next version or an alias' next model: a stated share of them, the
same ones each time.

A conversation, or what begins alike, is the canary's or it is not for as long as the canary stands: its answers come
from one model. Another canary draws another lot.
"""

from __future__ import annotations

import hashlib
from typing import Any

from inference.gateway.directory import Alias, Canary, Directory, Key, Model
from inference.gateway.tokens import chat_texts

BEGINNING_CHARACTERS = 512  # of what a conversation is told apart by
_PARTS = 10_000


def version_for(model: Model, key: Key, fields: dict[str, Any], directory: Directory) -> Model:
    """The model that answers a checked request: the canary for its share, the one that serves for all others."""
    return _drawn(model, directory.canary_of(model), key, fields)


def target_for(alias: Alias, model: Model, key: Key, fields: dict[str, Any], directory: Directory) -> Model:
    """The model that an alias stands for in a checked request: its canary for its share, `model` for all others."""
    return _drawn(model, directory.canary_of_alias(alias, key), key, fields)


def _drawn(model: Model, canary: Canary | None, key: Key, fields: dict[str, Any]) -> Model:
    if canary is not None and lot(key.key_id, canary.model, beginning(fields)) < canary.share * _PARTS // 100:
        return canary.model
    return model


def lot(key_id: str, canary: Model, text: str) -> int:
    """A number below 10,000, the same in every worker."""
    told = f"{canary.served_at}\n{key_id}\n{text}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "little") % _PARTS


def beginning(fields: dict[str, Any]) -> str:
    """What stays while a conversation grows: a chat up to its first user message, of a prompt its first characters."""
    if "messages" not in fields:
        return str(fields["prompt"][:BEGINNING_CHARACTERS])[:BEGINNING_CHARACTERS]
    texts: list[str] = []
    for message in fields["messages"]:
        texts += chat_texts([message])
        if message.get("role") == "user":
            break
    return "".join(texts)[:BEGINNING_CHARACTERS]
