"""An engine's refusals and failures in the gateway's words: four keys, a code of ours, and nothing of the engine's
inside.
"""

from __future__ import annotations

from typing import Any

import msgspec

from inference.gateway import errors
from inference.gateway.errors import ApiError

MAX_MESSAGE_CHARS = 600
_CONTEXT_MARKS = ("maximum context length", "max_model_len", "context length")


def reshape(status: int, body: bytes) -> ApiError:
    """The error a client gets for an engine's answer that is not 200."""
    if status in (400, 422):
        return _refusal(_error_of(body))
    if status in (404, 429, 503):
        # The directory said that the model is there, so a 404 is a replica that is not ready (any more).
        return errors.overloaded()
    return errors.engine_failed()


def reshape_event(payload: bytes) -> bytes:
    """The one final event for an engine's error in mid-stream."""
    error = _error_of(payload)
    if error.get("code") in (400, 422):
        return _refusal(error).event()
    return errors.engine_failed().event()


def _refusal(error: dict[str, Any]) -> ApiError:
    message = str(error.get("message") or "The engine refused the request.")[:MAX_MESSAGE_CHARS]
    code = "context_length_exceeded" if any(mark in message for mark in _CONTEXT_MARKS) else None
    param = error.get("param")
    return ApiError(400, code, message, param=param.removeprefix("body.") if isinstance(param, str) else None)


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else {}
