"""Filling in the middle: the model's prompt from prefix and suffix, cut to the context around the hole, and where the
answer ends.

Which lane it takes is `lanes`' matter; that a newer request of the same editor ends it is `sessions`'.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from inference.gateway import errors
from inference.gateway.directory import Key, Model
from inference.gateway.fim_cut import NoRoom
from inference.gateway.fim_tokens import FIM_BEGIN, FIM_END, FIM_HOLE, FimTokens
from inference.gateway.tokens import TokenCounter

CUT_HEADER = b"x-coderack-fim-cut"
# Where a client asked for no length, text may take an answer's room, but never more than leaves it this part of the context.
LEAST_ANSWER = 1 / 4
IN_THREAD_CHARACTERS = 64 * 1024


@dataclass(frozen=True)
class Hole:
    """What stands before and behind a hole, and the model's tokens for it."""

    prefix: str
    suffix: str
    tokens: FimTokens


@dataclass(frozen=True)
class Dropped:
    """Characters that were cut off on either side, and the bytes of the prompt that is left; 0 where nothing was."""

    prefix: int = 0
    suffix: int = 0
    bytes_left: int = 0

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What the client is told of it."""
        if not self.prefix and not self.suffix:
            return ()
        return ((CUT_HEADER, b"prefix=%d, suffix=%d" % (self.prefix, self.suffix)),)


NOTHING = Dropped()


def write(prefix: str, suffix: str) -> str:
    """The prompt as the model was trained with it."""
    return f"{FIM_BEGIN}{prefix}{FIM_HOLE}{suffix}{FIM_END}"


async def hole_of(fields: dict[str, Any], model: Model, counter: TokenCounter) -> Hole | None:
    """The hole that a request asks to be filled: of a suffix, or of a raw prompt in the model's own form.

    An absent, null or empty suffix means none. Text around a suffix' hole stays text, a raw prompt stays as it is.

    Raises: ApiError 400.
    """
    suffix, prompt = fields.pop("suffix", None), fields["prompt"]
    if suffix is None or suffix == "":
        return await _raw(prompt, model, counter)
    if not isinstance(suffix, str):
        raise errors.bad_field("suffix", "suffix must be a string.")
    tokens = await counter.fim_tokens(model.path) if model.fim else None
    if tokens is None:
        raise errors.bad_field("suffix", "This model does not fill in the middle; send no suffix.")
    if not isinstance(prompt, str):
        raise errors.bad_field("prompt", "With a suffix, prompt must be a single string.")
    control = await counter.control_tokens(model.path)
    named = (("prompt", prompt), ("suffix", suffix))
    if len(prompt) + len(suffix) < IN_THREAD_CHARACTERS:
        prefix, suffix = (control.literal(name, text) for name, text in named)
    else:
        prefix, suffix = await asyncio.to_thread(lambda: [control.literal(name, text) for name, text in named])
    return Hole(prefix, suffix, tokens)


async def _raw(prompt: Any, model: Model, counter: TokenCounter) -> Hole | None:
    """The hole of a prompt that is begin, text, hole, text, end and nothing else."""
    if not model.fim or not isinstance(prompt, str) or not prompt.startswith(FIM_BEGIN) or not prompt.endswith(FIM_END):
        return None
    if any(prompt.count(token) != 1 for token in (FIM_BEGIN, FIM_HOLE, FIM_END)):
        return None
    tokens = await counter.fim_tokens(model.path)
    prefix, _, suffix = prompt[len(FIM_BEGIN) : -len(FIM_END)].partition(FIM_HOLE)
    return None if tokens is None else Hole(prefix, suffix, tokens)


async def fit_context(fields: dict[str, Any], hole: Hole, key: Key, model: Model, counter: TokenCounter) -> Dropped:
    """Write prompt and max_tokens within the limit of plan and model; what was cut off around the hole for that.

    Raises: ApiError 400 context_length_exceeded when the asked answer leaves no room.
    """
    limit = min(key.max_context_tokens, model.max_model_len)
    asked: int | None = fields.get("max_tokens")
    if asked is not None and asked >= limit:
        raise errors.context_too_long(limit, "at least 1", asked, "max_tokens")
    wanted = key.default_max_tokens if asked is None else asked
    least = min(wanted, max(int(limit * LEAST_ANSWER), 1)) if asked is None else max(asked, 1)
    fields["prompt"] = prompt = write(hole.prefix, hole.suffix)
    dropped, num_tokens = NOTHING, 1 + len(prompt.encode())  # a token has at least one byte
    if num_tokens + wanted > limit:
        try:
            kept = await counter.fit_hole(model.path, hole.prefix, hole.suffix, write, limit - least)
        except NoRoom:
            raise errors.context_too_long(limit, f"more than {limit - least}", least, "max_tokens") from None
        fields["prompt"], num_tokens = write(kept.prefix, kept.suffix), kept.num_tokens
        sides = len(hole.prefix) - len(kept.prefix), len(hole.suffix) - len(kept.suffix)
        dropped = Dropped(*sides, len(fields["prompt"].encode())) if any(sides) else NOTHING
    fields["max_tokens"] = max(min(wanted, limit - num_tokens), 1) if asked is None else asked
    return dropped


def add_stops(fields: dict[str, Any], tokens: FimTokens) -> None:
    """End the answer at the model's own tokens, too, by their ids: they are no part of its text.

    A client that wants no end gets none.
    """
    if not fields.get("ignore_eos"):
        own = fields.get("stop_token_ids") or []
        fields["stop_token_ids"] = [*own, *(one for one in tokens.stops if one not in own)]
