"""From the bytes of a request to a checked JSON object: one parse, bounded nesting, types and caps of single fields.

What the values mean together (model, context, plan) is decided in `admit`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from inference.gateway import errors
from inference.gateway.errors import bad_field

MAX_NESTING = 64
MAX_N = 16
MAX_LOGPROBS = 20
MAX_STOP = 4
MAX_PROMPTS = 128
MAX_LOGIT_BIAS = 1024

_decoder = msgspec.json.Decoder()


def parse(raw: bytes) -> dict[str, Any]:
    """The body as a JSON object.

    Raises: ApiError 400 for anything else, too deep nesting included.
    """
    try:
        body = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise errors.malformed("The request body is not valid JSON.") from None
    except (RecursionError, ValueError, OverflowError):
        raise errors.malformed("The request body is nested too deeply or holds a number out of range.") from None
    if not isinstance(body, dict):
        raise errors.malformed("The request body must be a JSON object.")
    # As many opening brackets as levels allow is the common case and needs no walk.
    if raw.count(b"{") + raw.count(b"[") > MAX_NESTING and _is_deeper(body, MAX_NESTING):
        raise errors.malformed(f"The request body is nested more than {MAX_NESTING} levels deep.")
    return body


def _is_deeper(body: dict[str, Any], limit: int) -> bool:
    level: list[Any] = [body]
    for _ in range(limit):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
    return True


def check(body: dict[str, Any], endpoint: str) -> None:
    """Types and caps of the fields that the gateway reads or bounds.

    Raises: ApiError 400 with the field in param.
    """
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise bad_field("model", "model must be a non-empty string.")
    _check_flag(body, "stream")
    _check_int(body, "n", 1, MAX_N)
    _check_int(body, "best_of", 1, MAX_N)
    _check_int(body, "max_tokens", 0 if endpoint == "completions" else 1, None)
    _check_int(body, "min_tokens", 0, None)
    _check_int(body, "prompt_logprobs", 0, MAX_LOGPROBS)
    _check_stop(body.get("stop"))
    _check_logit_bias(body.get("logit_bias"))
    if endpoint == "chat":
        _check_int(body, "max_completion_tokens", 1, None)
        _check_int(body, "top_logprobs", 0, MAX_LOGPROBS)
        _check_flag(body, "logprobs")
    else:
        _check_int(body, "logprobs", 0, MAX_LOGPROBS)
        if not _is_start_of_file(body):
            check_prompt(body.get("prompt"))
    check_stream_options(body.get("stream_options"))


def _is_start_of_file(body: dict[str, Any]) -> bool:
    """Nothing before the hole, something behind it: an ordinary request to fill in the middle."""
    suffix = body.get("suffix")
    return body.get("prompt") == "" and isinstance(suffix, str) and suffix != ""


def check_stream_options(value: Any) -> None:
    """stream_options is an object whose include_usage is a boolean."""
    if value is None:
        return
    if not isinstance(value, dict) or not isinstance(value.get("include_usage"), bool | None):
        raise bad_field("stream_options", "stream_options must be an object whose include_usage is a boolean.")


def check_prompt(prompt: Any) -> None:
    """A text, a list of token ids, or a list of either."""
    prompts = prompt if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list) else [prompt]
    if len(prompts) > MAX_PROMPTS:
        raise bad_field("prompt", f"prompt holds {len(prompts)} prompts, at most {MAX_PROMPTS} are accepted.")
    for one in prompts:
        if not one or not (isinstance(one, str) or _is_token_ids(one)):
            raise bad_field("prompt", "prompt must be a non-empty string, a list of token ids, or a list of either.")


def prompts_of(prompt: Any) -> list[Any]:
    """The single prompts of a checked `prompt`."""
    return prompt if isinstance(prompt, list) and isinstance(prompt[0], str | list) else [prompt]


def _is_token_ids(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_flag(body: dict[str, Any], name: str) -> None:
    if not isinstance(body.get(name), bool | None):
        raise bad_field(name, f"{name} must be a boolean.")


def _check_int(body: dict[str, Any], name: str, low: int, high: int | None) -> None:
    value = body.get(name)
    if value is None:
        return
    if type(value) is not int or value < low or (high is not None and value > high):
        bound = f"at least {low}" if high is None else f"from {low} to {high}"
        raise bad_field(name, f"{name} must be an integer {bound}.")


def _check_stop(value: Any) -> None:
    if value is None or isinstance(value, str):
        return
    if not isinstance(value, list) or len(value) > MAX_STOP or not all(isinstance(item, str) for item in value):
        raise bad_field("stop", f"stop must be a string or a list of at most {MAX_STOP} strings.")


def _check_logit_bias(value: Any) -> None:
    if value is not None and (not isinstance(value, dict) or len(value) > MAX_LOGIT_BIAS):
        raise bad_field("logit_bias", f"logit_bias must be an object of at most {MAX_LOGIT_BIAS} entries.")
