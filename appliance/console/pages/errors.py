"""Error pages: what happened, what it means for serving, what to do next, the id to quote. API paths get API.md's shape."""

from __future__ import annotations

import logging
import secrets
import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from appliance.api import errors as api

log = logging.getLogger("coderack.console")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400."""
    return api.answer(request, 400) if api.is_api(request) else _page("400", 400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403."""
    return api.answer(request, 403) if api.is_api(request) else _page("403", 403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404: the same page for what doesn't exist and what isn't yours."""
    return api.answer(request, 404) if api.is_api(request) else _page("404", 404)


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that was open too long, or that came from elsewhere."""
    return api.answer(request, 403) if api.is_api(request) else _page("csrf", 403)


def failed(request: HttpRequest) -> HttpResponse:
    """500, or 503 while the database is away; the id stands in the log beside the traceback."""
    error = sys.exc_info()[1]
    error_id = secrets.token_hex(6)
    log.error("error %s: %s %s failed: %r", error_id, request.method, request.path, error)
    database_away = isinstance(error, (OperationalError, InterfaceError))
    status = 503 if database_away else 500
    if api.is_api(request):
        return api.answer(request, status, error_id)
    return _page("503" if database_away else "500", status, error_id)


def _page(name: str, status: int, error_id: str = "") -> HttpResponse:
    """Rendered without the request, so that it needs neither the database nor the session."""
    html = render_to_string(f"console/errors/{name}.html", {"status": status, "error_id": error_id})
    response = HttpResponse(html, status=status)
    if status == 503:
        response["Retry-After"] = "10"
    return response
