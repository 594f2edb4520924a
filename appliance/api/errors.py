"""The control API's error table: each status as the shape that OpenAI's clients read. The gateway has its own for hot paths."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, JsonResponse

PREFIXES = ("/v1/", "/beta/", "/user/")
PATHS = ("/v1", "/beta", "/user")


@dataclass(frozen=True)
class ApiError:
    """One row of the table."""

    type: str
    message: str
    code: str | None = None


TABLE: dict[int, ApiError] = {
    400: ApiError("invalid_request_error", "The request could not be understood."),
    401: ApiError("authentication_error", "Incorrect API key provided.", "invalid_api_key"),
    403: ApiError("permission_error", "This is not allowed."),
    404: ApiError("invalid_request_error", "Invalid URL ({method} {path})."),
    405: ApiError("invalid_request_error", "Method not allowed ({method} {path})."),
    500: ApiError("server_error", "The appliance failed to answer. Quote the id {error_id} to its operator."),
    503: ApiError(
        "server_error", "The appliance's database can't be reached; try again. Id: {error_id}.", "overloaded"
    ),
}


def is_api(request: HttpRequest) -> bool:
    """Whether the path belongs to the tenant API, so that its errors are JSON."""
    return request.path.startswith(PREFIXES) or request.path in PATHS


def answer(request: HttpRequest, status: int, error_id: str = "") -> JsonResponse:
    """The error body for this status; all four keys are always there."""
    row = TABLE[status]
    message = row.message.format(method=request.method, path=request.path[:200], error_id=error_id)
    body = {"error": {"message": message, "type": row.type, "param": None, "code": row.code}}
    response = JsonResponse(body, status=status)
    if status == 503:
        response["Retry-After"] = "10"
    return response
