"""From the bytes of a request to a checked JSON object: bounded nesting, no name twice, one model, proper prompts.

What single other fields may hold is `values`' matter; what the values mean together (model, context, plan) is decided in
`admit`.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from inference.gateway import errors
from inference.gateway.errors import bad_field
from inference.gateway.values import check_grammars, check_values, is_token_id

MAX_NESTING = 64
MAX_PROMPTS = 128
# Empty lists take thirty times their bytes in memory, and the longer to be made the more there are.
MAX_CONTAINERS = 65_536

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


def parse(raw: bytes) -> dict[str, Any]:
    """The body as a JSON object.

    Raises: ApiError 400 for anything else, too deep nesting, too many parts and a name given twice included.
    """
    num_brackets = raw.count(b"{") + raw.count(b"[")
    if num_brackets > MAX_CONTAINERS and _num_containers(raw) > MAX_CONTAINERS:
        raise errors.malformed(f"The request body holds more than {MAX_CONTAINERS} lists and objects.")
    try:
        body = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise errors.malformed("The request body is not valid JSON.") from None
    except (RecursionError, ValueError, OverflowError):
        raise errors.malformed("The request body is nested too deeply or holds a number out of range.") from None
    if not isinstance(body, dict):
        raise errors.malformed("The request body must be a JSON object.")
    # As many opening brackets as levels allow is the common case and needs no walk.
    if num_brackets > MAX_NESTING and _is_deeper(body, MAX_NESTING):
        raise errors.malformed(f"The request body is nested more than {MAX_NESTING} levels deep.")
    _refuse_repeated_names(raw, body)
    return body


def _num_containers(raw: bytes) -> int:
    """Opening brackets outside of texts."""
    outside = raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    return sum(piece.count(b"{") + piece.count(b"[") for piece in outside)


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


class _Repeated(Exception):
    """A name came twice."""


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len({name for name, _ in pairs}) != len(pairs):
        raise _Repeated


# It builds nothing.
_once_decoder = json.JSONDecoder(object_pairs_hook=_once, parse_int=len, parse_float=len)


def _refuse_repeated_names(raw: bytes, body: dict[str, Any]) -> None:
    """The fast parser keeps the last of two values in silence, and where two programs read such a body differently, one
    of them gets fooled. Each name has one colon, so that a dropped one shows in the count; only `\\u003a` can hide a colon.
    """
    hidden = b"\\u003a" in raw or b"\\u003A" in raw
    if not hidden and raw.count(b":") == _encoder.encode(body).count(b":"):
        return
    try:
        _once_decoder.decode(raw.decode())
    except _Repeated:
        raise errors.malformed("The request body names a field twice.") from None


def check(body: dict[str, Any], endpoint: str) -> None:
    """Types and caps of the fields that the gateway reads or bounds.

    Raises: ApiError 400 with the field in param.
    """
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise bad_field("model", "model must be a non-empty string.")
    check_values(body, endpoint)
    check_grammars(body)
    if endpoint == "completions" and not _is_start_of_file(body):
        check_prompt(body.get("prompt"))


def _is_start_of_file(body: dict[str, Any]) -> bool:
    """Nothing before the hole, something behind it: an ordinary request to fill in the middle."""
    suffix = body.get("suffix")
    return body.get("prompt") == "" and isinstance(suffix, str) and suffix != ""


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
    return isinstance(value, list) and all(map(is_token_id, value))
