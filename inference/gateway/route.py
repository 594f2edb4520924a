"""Chooses the replica of a request: a pure function over what each has to do, and the prefix that requests share.

Requests of a tenant that begin alike go to the same replica, whose cache has their beginning, as long as that one has
not much more to do than the least loaded.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from inference.gateway.admit import Admitted
from inference.gateway.directory import Replica
from inference.gateway.tokens import chat_texts

PREFIX_CHARACTERS = 2048  # of the prompt: a system prompt, or a conversation's or file's beginning
# The preferred replica is left for the least loaded above this factor and this much more, in outstanding tokens.
LOAD_FACTOR = 1.25
LOAD_SLACK_TOKENS = 4096
_MASK = (1 << 64) - 1


class Candidate(NamedTuple):
    """A replica that may be chosen; `tokens` are outstanding over all workers, `free` says that it has room."""

    replica: Replica
    tokens: int
    free: bool


def choose(candidates: Sequence[Candidate], prefix: int, turn: int) -> Replica | None:
    """The prefix' own replica, or the least loaded where that one has no room or too much to do; ties in turn."""
    free = [one for one in candidates if one.free]
    if not free:
        return None
    least = min([one.tokens for one in free])
    preferred = (
        candidates[0] if len(candidates) == 1 else max(candidates, key=lambda one: affinity(prefix, one.replica))
    )
    if preferred.free and preferred.tokens <= LOAD_FACTOR * least + LOAD_SLACK_TOKENS:
        return preferred.replica
    lightest = [one for one in free if one.tokens == least]
    return lightest[turn % len(lightest)].replica


def affinity(prefix: int, replica: Replica) -> int:
    """Rendezvous hashing: the replica with the highest value has the prefix.

    By the replica and not its life, so that a restarted engine gets its own prefixes back and nobody else's.
    """
    mixed = (prefix ^ _digest(replica.replica_id)) * 0x9E3779B97F4A7C15 & _MASK
    return ((mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93 & _MASK) >> 16


@functools.lru_cache(maxsize=1024)
def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def prefix_of(admitted: Admitted) -> int:
    """A number for how a request begins, the same in every worker; other tenants' and models' are others."""
    body = admitted.body
    text = _beginning(body["messages"]) if "messages" in body else _first(body["prompt"])
    hashed = hashlib.blake2b(f"{admitted.key.tenant_id}\n{admitted.model.name}\n".encode(), digest_size=8)
    hashed.update(text[:PREFIX_CHARACTERS].encode(errors="surrogatepass"))
    return int.from_bytes(hashed.digest(), "little")


def _beginning(messages: list[dict[str, Any]]) -> str:
    text = ""
    for message in messages:
        content = message.get("content")
        for one in (content,) if isinstance(content, str) else chat_texts([message]):
            text += one[:PREFIX_CHARACTERS]
            if len(text) >= PREFIX_CHARACTERS:
                return text
    return text


def _first(prompt: Any) -> str:
    """The beginning of the first prompt, a text or token ids."""
    while isinstance(prompt, list) and prompt and isinstance(prompt[0], list | str):
        prompt = prompt[0]
    return prompt if isinstance(prompt, str) else str(prompt[:PREFIX_CHARACTERS])
