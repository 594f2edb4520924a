"""Tries what a server can do, once, when it is attached: each ability costs it a request of one token.

Nothing that it says is believed further than it must be: texts are cut, numbers bounded, redirects are refusals.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from inference.attached.errors import ServerRefused
from inference.engines import EngineKind
from inference.pool.attached_client import AttachedClient
from inference.pool.engine_client import Answer
from inference.pool.errors import EngineUnreachable

CALL_S = 10.0
FIRST_TOKEN_S = 60.0
MODELS_PATH = "/v1/models"
MAX_MODEL_LEN = 10_000_000
SHOWN_MODELS = 10
SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class Abilities:
    """Which of the gateway's own fields a server takes, and what it tells. `context` is None where it says nothing."""

    context: int | None
    priority: bool
    cache_salt: bool
    usage: bool
    aborts: bool


def try_out(client: AttachedClient, kind: EngineKind, model: str) -> Abilities:
    """What the server can do with a model; it is asked nothing that outlasts the call.

    Raises: ServerRefused with what to do; EngineUnreachable.
    """
    card = find_model(client, model)
    path, body = kind.canary_request(model)
    answer = _ask(client, path, body)
    if answer.status != 200:
        raise ServerRefused(f"a completion of one token was answered with {_told(answer)}")
    if not _counts(answer.json().get("usage")):
        raise ServerRefused("its completions don't say how many tokens they used, so that nobody could be billed")

    def takes(**more: Any) -> bool:
        return _ask(client, path, {**body, **more}).status == 200

    length = card.get("max_model_len")
    return Abilities(
        context=length if type(length) is int and 16 <= length <= MAX_MODEL_LEN else None,
        priority=takes(priority=1),
        cache_salt=takes(cache_salt="coderack"),
        usage=_tells_usage(client, path, body),
        aborts=_aborts(client, kind),
    )


def find_model(client: AttachedClient, model: str) -> dict[str, Any]:
    """The model as the server lists it.

    Raises: ServerRefused; EngineUnreachable.
    """
    answer = client.get(MODELS_PATH, CALL_S)
    if answer.status != 200:
        raise ServerRefused(f"GET {MODELS_PATH} was answered with {_told(answer)}")
    cards = answer.json().get("data")
    cards = [card for card in cards if isinstance(card, dict)] if isinstance(cards, list) else []
    found: dict[str, Any] | None = next((card for card in cards if card.get("id") == model), None)
    if found is None:
        names = ", ".join(ascii(card.get("id"))[:SHOWN_CHARACTERS] for card in cards[:SHOWN_MODELS])
        raise ServerRefused(f"it has no model {model!r}; it lists {names or 'none'}: say which with --engine-model")
    return found


def _ask(client: AttachedClient, path: str, body: dict[str, Any]) -> Answer:
    return client.post(path, body, FIRST_TOKEN_S, f"probe-{uuid.uuid4().hex}")


def _told(answer: Answer) -> str:
    if answer.status in (401, 403):
        return f"{answer.status}: the key is missing or refused"
    if 300 <= answer.status < 400:
        return f"{answer.status}: it sends its callers elsewhere, and nobody follows; give the address itself"
    error = answer.json().get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return f"{answer.status}" + (f": {ascii(message)[:SHOWN_CHARACTERS]}" if isinstance(message, str) else "")


def _counts(usage: Any) -> bool:
    return (
        isinstance(usage, dict)
        and type(usage.get("prompt_tokens")) is int
        and type(usage.get("completion_tokens")) is int
    )


def _tells_usage(client: AttachedClient, path: str, body: dict[str, Any]) -> bool:
    """Whether a stream ends with what it used, in an event of its own.

    Raises: ServerRefused for a stream that the gateway could not read.
    """
    asked = _ask(client, path, {**body, "stream": True, "stream_options": {"include_usage": True}})
    answer = asked if asked.status == 200 else _ask(client, path, {**body, "stream": True})
    if answer.status != 200 or not answer.body.endswith(b"data: [DONE]\n\n"):
        raise ServerRefused("its streams don't end with `data: [DONE]` and an empty line: the gateway can't read them")
    return asked.status == 200 and any(map(_is_usage, answer.body.split(b"\n\n")))


def _is_usage(event: bytes) -> bool:
    if b'"usage":{' not in event:
        return False
    parsed = Answer(200, event.removeprefix(b"data: ")).json()
    return parsed.get("choices") == [] and _counts(parsed.get("usage"))


def _aborts(client: AttachedClient, kind: EngineKind) -> bool:
    path, body = kind.abort_request("coderack-probe")
    try:
        return client.post(path, body, CALL_S).status == 200
    except EngineUnreachable:
        return False
