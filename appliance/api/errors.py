"""The control API's error table: each status as the shape that OpenAI's clients read. The gateway has its own for hot paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.http import HttpRequest, JsonResponse

from appliance.training.errors import Refused

PREFIXES = ("/v1/", "/beta/", "/user/", "/organization/")
PATHS = ("/v1", "/beta", "/user", "/organization")


@dataclass(frozen=True)
class ApiError:
    """One row of the table."""

    type: str
    message: str
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


TABLE: dict[int, ApiError] = {
    400: ApiError("invalid_request_error", "The request could not be understood."),
    401: ApiError(
        "authentication_error", "Missing or invalid API key.", "invalid_api_key", {"WWW-Authenticate": "Bearer"}
    ),
    403: ApiError("permission_error", "This is not allowed."),
    404: ApiError("invalid_request_error", "Invalid URL ({method} {path})."),
    405: ApiError("invalid_request_error", "Method not allowed ({method} {path})."),
    411: ApiError("invalid_request_error", "Send the body with its Content-Length, not in chunks.", "length_required"),
    413: ApiError("invalid_request_error", "The request body is too large.", "request_too_large"),
    500: ApiError("server_error", "The appliance failed to answer. Quote the id {error_id} to its operator."),
    503: ApiError(
        "server_error", "The appliance's database can't be reached; try again. Id: {error_id}.", "overloaded",
        {"Retry-After": "10"},
    ),
    # clients would send the whole upload again twice
    507: ApiError("server_error", "The appliance's disk is nearly full.", "disk_full", {"x-should-retry": "false"}),
}  # fmt: skip

# What a refusal's code means as a status. All others are 400, conflicts too: OpenAI's clients send a 409 again.
STATUSES: dict[str, int] = {
    "model_not_allowed": 403,
    "model_not_found": 404,
    "not_found": 404,
    "file_too_large": 413,
    "request_too_large": 413,
    "disk_full": 507,
}


class NotFound(Refused):
    """An id that is unknown or somebody else's: one body for both, and the id is not repeated."""

    def __init__(self, what: str, param: str) -> None:
        super().__init__(f"The {what} does not exist or you have no access to it.", param, "not_found")


class TooLarge(Refused):
    """A body over the limit."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The request body is over the limit of {limit_bytes} bytes.", None, "request_too_large")


def is_api(request: HttpRequest) -> bool:
    """Whether the address belongs to the tenant API, so that its errors are JSON."""
    match = request.resolver_match
    if match is not None and getattr(match.func, "answers_json", False):
        return True
    return request.path.startswith(PREFIXES) or request.path in PATHS


def answer(request: HttpRequest, status: int, error_id: str = "", message: str | None = None) -> JsonResponse:
    """The error body for this status, in the table's words where the caller has none."""
    row = TABLE[status]
    words = message or row.message.format(method=request.method, path=request.path[:200], error_id=error_id)
    return _answer(status, words, None, row.code)


def refusal(refused: Refused) -> JsonResponse:
    """The error body for something that was understood and is not done."""
    return _answer(STATUSES.get(refused.code or "", 400), refused.message, refused.param, refused.code)


def _answer(status: int, message: str, param: str | None, code: str | None) -> JsonResponse:
    """All four keys are always there."""
    body = {"error": {"message": message, "type": TABLE[status].type, "param": param, "code": code}}
    return JsonResponse(body, status=status, headers=dict(TABLE[status].headers))
