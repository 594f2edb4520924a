"""What an engine's usage object means: the client's view of it, and what is billed and counted.

vLLM counts a sequence's prompt when its first token comes out, once per sequence; its usage object names each prompt
once and names it even where no token came. Billing follows the counters.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
MAX_FIGURE = 1 << 53
MAX_USAGE_BYTES = 4096
_USAGE = b'"usage":'
_first_decoder = json.JSONDecoder()


class Usage(msgspec.Struct, frozen=True):
    """Tokens of a request as an engine reported them, or a lower bound (`exact` False)."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    engine_prompt_tokens: int = 0
    exact: bool = False


def read(reported: dict[str, Any], num_prompts: int, num_sequences: int, num_started: int) -> Usage:
    """Usage as it is billed; `num_started` of the sequences are known to have produced a token."""
    completion = int(reported.get("completion_tokens") or 0)
    if completion == 0:
        return Usage(exact=True)
    no_text = (
        num_started == 0
    )  # a token may have none, half of a letter for one; of several sequences any may have begun
    num_started = max(num_started, 1)
    prompt = int(reported.get("prompt_tokens") or 0)
    cached = min(int((reported.get("prompt_tokens_details") or {}).get("cached_tokens") or 0), prompt)
    all_started = num_started >= num_sequences
    # With several prompts of which some never started, the engine does not say which tokens it counted.
    exact = all_started or (num_prompts == 1 and not no_text)
    engine = prompt * num_sequences // num_prompts if all_started else prompt * num_started // num_sequences
    if num_prompts == 1:
        engine = prompt * min(num_started, num_sequences)
    return Usage(prompt, cached, completion, engine, exact)


def makes_sense(reported: dict[str, Any]) -> bool:
    """Whether its figures are figures. An engine's always are; a server that the pool did not start may write anything."""
    details = reported.get("prompt_tokens_details")
    if details is not None and not isinstance(details, dict):
        return False
    figures = reported.get("prompt_tokens"), reported.get("completion_tokens"), (details or {}).get("cached_tokens")
    return all(one is None or (isinstance(one, int) and abs(one) <= MAX_FIGURE) for one in figures)


def for_client(reported: dict[str, Any]) -> dict[str, Any]:
    """The usage object with both dialects' cache figures."""
    details = dict(reported.get("prompt_tokens_details") or {})
    cached = int(details.get("cached_tokens") or 0)
    prompt = int(reported.get("prompt_tokens") or 0)
    return {
        **reported,
        "prompt_tokens_details": {**details, "cached_tokens": cached},
        "prompt_cache_hit_tokens": min(cached, prompt),
        "prompt_cache_miss_tokens": max(prompt - cached, 0),
    }


def rewrite_event(event: dict[str, Any]) -> bytes:
    """The last usage event as a client that asked for it sees it."""
    return b"data: " + _encoder.encode({**event, "usage": for_client(event["usage"])}) + b"\n\n"


class _Answer(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()


_answer_decoder = msgspec.json.Decoder(_Answer)


def split_answer(body: bytes) -> tuple[dict[str, Any] | None, bytes]:
    """The usage object of a whole answer, and the answer with the client's view of it in its place."""
    try:
        raw = bytes(_answer_decoder.decode(body).usage)
        reported = _decoder.decode(raw) if raw else None
    except msgspec.DecodeError:
        return None, body
    if not isinstance(reported, dict) or not makes_sense(reported):
        return None, body
    # Inside strings quotes are escaped, so this text can only be the object itself; the last one is the top level's.
    before, _, after = body.rpartition(raw)
    return reported, before + _encoder.encode(for_client(reported)) + after


class UsageSearch:
    """Looks for the usage object of an answer that is too long to be kept, in pieces of it as they come."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> None:
        """The next piece."""
        data = self._kept + data
        # Inside strings quotes are escaped, so that this can only be a key; the last one is the top level's.
        begins = data.rfind(_USAGE)
        self._kept = data[begins : begins + MAX_USAGE_BYTES] if begins >= 0 else data[1 - len(_USAGE) :]

    def reported(self) -> dict[str, Any] | None:
        """What the pieces had, where it makes sense."""
        if not self._kept.startswith(_USAGE):
            return None
        try:
            found, _ = _first_decoder.raw_decode(self._kept[len(_USAGE) :].decode(errors="replace").lstrip())
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) and makes_sense(found) else None


def count_started(body: bytes) -> int:
    """How many choices of a whole answer hold something; for answers that were cut short by an abort."""
    choices = _decoder.decode(body).get("choices") or []
    return sum(1 for choice in choices if choice.get("finish_reason") != "abort" or _has_content(choice))


def _has_content(choice: dict[str, Any]) -> bool:
    message = choice.get("message") or {}
    return bool(choice.get("text") or any(message.get(name) for name in ("content", "reasoning", "tool_calls")))
