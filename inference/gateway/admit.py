"""Decides whether a request may go to an engine, and as what: fields sorted, model resolved, context limit kept.

Everything here ends in an `Admitted` or in an `ApiError`. Limits in time (rates, budgets) are a stage of their own.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from inference.gateway import body as bodies
from inference.gateway import errors, fim, metrics
from inference.gateway.canary import target_for, version_for
from inference.gateway.cells import Cells
from inference.gateway.directory import Directory, Key, Model, max_sequences
from inference.gateway.fields import check_messages, sort_fields
from inference.gateway.fim import NOTHING, Dropped
from inference.gateway.tokens import TokenCounter, max_prompt_tokens, template_tokens

# To read and search a body of this size takes about as long as the way to another thread and back is worth.
IN_THREAD_BYTES = 128 * 1024
MAX_SEQUENCES = 128  # of one request: its prompts times n

_dropped = Cells(metrics.DROPPED_FIELDS).of


class Admitted(msgspec.Struct, frozen=True):
    """A request that an engine may have. `body` is what is forwarded, before render's own fields."""

    endpoint: str
    key: Key
    model: Model
    body: dict[str, Any]
    stream: bool
    wants_usage: bool
    num_prompts: int
    num_sequences: int
    dropped: Dropped = NOTHING
    session: object = None  # the editor's, as the body names it
    asked: str = ""  # the name in the request: the model's or an alias


async def admit(raw: bytes, endpoint: str, key: Key, directory: Directory, counter: TokenCounter) -> Admitted:
    """Check one request of a known key.

    Raises: ApiError.
    """
    num_bytes = len(raw)
    # Large bodies in a thread: nobody else's stream waits for them.
    small = num_bytes < IN_THREAD_BYTES
    read = _read(raw, endpoint) if small else await asyncio.to_thread(_read, raw, endpoint)
    received, fields, dropped = read
    asked: str = fields["model"]
    model = _answering(asked, fields, key, directory)
    hole = await fim.hole_of(fields, model, counter) if endpoint == "completions" else None
    if endpoint == "chat":
        tokens = await counter.control_tokens(model.path)
        num_bytes += tokens.keep_literal(fields) if small else await asyncio.to_thread(tokens.keep_literal, fields)
    dropped_text = NOTHING
    if hole is not None:
        dropped_text = await fim.fit_context(fields, hole, key, model, counter)
        fim.add_stops(fields, hole.tokens)
    else:
        await fit_context(fields, num_bytes, key, model, counter)
    for name in dropped:
        _dropped(name)(1)
    num_prompts = 1 if endpoint == "chat" else len(bodies.prompts_of(fields["prompt"]))
    num_sequences = num_prompts * (fields.get("n") or 1)
    if num_sequences > 1:
        _check_sequences(num_sequences, num_prompts, model, directory)
    stream = bool(fields.get("stream"))
    options = received.get("stream_options") or {}
    return Admitted(
        endpoint=endpoint,
        key=key,
        model=model,
        body=fields,
        stream=stream,
        wants_usage=stream and bool(options.get("include_usage")),
        num_prompts=num_prompts,
        num_sequences=num_sequences,
        dropped=dropped_text,
        session=received.get("session_id"),
        asked=asked,
    )


def _check_sequences(num_sequences: int, num_prompts: int, model: Model, directory: Directory) -> None:
    """No request takes more than a replica can run at once, nor most of a large one.

    Raises: ApiError 400 that names what there are more of.
    """
    most = min(MAX_SEQUENCES, max_sequences(directory.replicas(model.served_at)))
    if num_sequences > most:
        num_answers = num_sequences // num_prompts
        told = (
            f"{num_prompts} prompts with n {num_answers} are {num_sequences} answers, at most {most} are made at once."
        )
        raise errors.bad_field("n" if num_answers > 1 else "prompt", told)


def _read(raw: bytes, endpoint: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """What was received, the fields that go to the engine, and the names of those dropped."""
    received = bodies.parse(raw)
    bodies.check(received, endpoint)
    fields, dropped = sort_fields(received, endpoint)
    if endpoint == "chat":
        check_messages(fields.get("messages"))
    return received, fields, dropped


def _answering(name: str, fields: dict[str, Any], key: Key, directory: Directory) -> Model:
    """The model that gets a request, by now under its own name: behind an alias, and of a canary's share the canary.

    Raises: ApiError 404 or 403.
    """
    model = resolve(name, key, directory)
    alias = directory.find_alias(name, key)
    if alias is not None:
        model = target_for(alias, model, key, fields, directory)
        fields["model"] = model.name
    return version_for(model, key, fields, directory)


def resolve(name: str, key: Key, directory: Directory) -> Model:
    """The model of a name for a key. An adapter or an alias of another tenant isn't told from an unknown name.

    Raises: ApiError 404 or 403.
    """
    model = directory.find_model(name, key)
    if model is None and (alias := directory.find_alias(name, key)) is not None:
        if alias.model is None:
            raise errors.alias_of_nothing(alias.name, alias.to)
        model = alias.model
    if model is None:
        raise errors.model_not_found()
    if not key.allows(model):
        raise errors.model_not_allowed()
    return model


async def fit_context(fields: dict[str, Any], body_bytes: int, key: Key, model: Model, counter: TokenCounter) -> None:
    """Keep prompt and answer within the limit of plan and model, and write max_tokens where the client sent none.

    Raises: ApiError 400 context_length_exceeded.
    """
    limit = min(key.max_context_tokens, model.max_model_len)
    param = "messages" if "messages" in fields else "prompt"
    in_chat = fields.pop("max_completion_tokens", None)
    asked: int | None = in_chat if in_chat is not None else fields.get("max_tokens")
    if asked is not None and asked >= limit:
        raise errors.context_too_long(limit, "at least 1", asked, "max_tokens")
    wanted = key.default_max_tokens if asked is None else asked
    longest = max_prompt_tokens(fields, body_bytes)
    if longest + template_tokens(fields) + wanted > limit:
        most = limit - max(asked or 0, 1)
        longest = await counter.longest_prompt(model.path, fields, most)
        if longest > most:
            raise errors.context_too_long(limit, f"at least {longest}", asked or 0, param)
        # What the template adds is a guess from above: it never takes more than half of what is left.
        room = limit - longest
        wanted = min(wanted, max(room - template_tokens(fields), room // 2))
    fields["max_tokens"] = max(wanted, 1) if asked is None else asked
