"""One line of an input file: what it must hold, and what is said of one that does not. Nothing here reads files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import msgspec

ENDPOINTS = ("/v1/chat/completions", "/v1/completions")
MAX_CUSTOM_ID = 512


@dataclass(frozen=True)
class Fault:
    """What is wrong with a line, or with the whole file where `line` is None; OpenAI's batch error."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As it is stored and shown."""
        return asdict(self)


class Bad(Exception):
    """A line that can't be used; becomes a Fault once its number is known."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param

    def at(self, line: int) -> Fault:
        """The fault of the line with this number, counted from 1."""
        return Fault(self.code, self.message, line, self.param)


class Line(msgspec.Struct, frozen=True):
    """A request of a batch. The body stays as the tenant wrote it, byte for byte."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


_decoder = msgspec.json.Decoder(Line)


def read(raw: bytes) -> Line:
    """A line that was checked before.

    Raises: msgspec.MsgspecError.
    """
    try:
        return _decoder.decode(raw)
    except RecursionError as error:  # what could be read may be too deep where the stack is deeper
        raise msgspec.DecodeError(str(error)) from None


def check(raw: bytes, endpoint: str) -> tuple[str, str]:
    """The custom_id and the model of a line that can be sent to this endpoint.

    Raises: Bad.
    """
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Bad("invalid_json_line", "This line is not JSON that can be read.") from None
    if not isinstance(found, dict):
        raise Bad("invalid_json_line", "This line is not a JSON object.")
    custom_id = _text(found, "custom_id")
    if not custom_id or len(custom_id) > MAX_CUSTOM_ID or not custom_id.isprintable():
        raise Bad("invalid_custom_id", f"custom_id must have 1 to {MAX_CUSTOM_ID} printable characters.", "custom_id")
    if _text(found, "method") != "POST":
        raise Bad("invalid_method", "method must be POST.", "method")
    if _text(found, "url") != endpoint:
        raise Bad("invalid_url", f"url must be {endpoint}, as the batch's endpoint is.", "url")
    model = _model(found)
    try:
        line = read(raw)  # as it is read when it is sent, which minds a field that is there twice
    except msgspec.MsgspecError:
        line = None
    if line is None or line.custom_id != custom_id:
        raise Bad("invalid_json_line", "This line has a field twice, or is nested too deeply.")
    return custom_id, model


def _model(found: dict[str, Any]) -> str:
    if "body" not in found:
        raise Bad("missing_required_parameter", "body is missing.", "body")
    body = found["body"]
    if not isinstance(body, dict):
        raise Bad("invalid_request", "body must be an object.", "body")
    if body.get("stream"):
        raise Bad("unsupported_parameter", "A batch's answers are not streamed; leave stream out.", "body.stream")
    model = body.get("model")
    if not isinstance(model, str) or not model or len(model) > 200 or not model.isprintable():
        raise Bad("missing_required_parameter", "body must name a model.", "body.model")
    return model


def _text(found: dict[str, Any], name: str) -> str:
    if name not in found:
        raise Bad("missing_required_parameter", f"{name} is missing.", name)
    value = found[name]
    if not isinstance(value, str):
        raise Bad("invalid_request", f"{name} must be a string.", name)
    return value
