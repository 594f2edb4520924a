"""The tenant API's addresses: under /v1 with and without a slash at the end, and under the root without one.

Nothing redirects, for a redirect loses bodies. Under the root a slash at the end belongs to the console's pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import URLPattern, path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from appliance.api import errors
from appliance.api.app import api
from inference.gateway.openapi import joined

View = Callable[..., HttpResponseBase]
MAX_BODY_BYTES = 1024 * 1024
UPLOADS = "files"  # its limit is the plan's
OPENAPI = "openapi.json"


def tenant_api(view: View, max_body_bytes: int | None = MAX_BODY_BYTES) -> View:
    """A view for programs: no log-in page, no CSRF token, a bounded body, errors as JSON."""

    @csrf_exempt
    @login_not_required
    @wraps(view)
    def answer(request: HttpRequest, **names: Any) -> HttpResponseBase:
        length = request.headers.get("Content-Length", "")
        if not length and "Transfer-Encoding" in request.headers:  # Django would read an empty body
            return errors.answer(request, 411)
        if max_body_bytes is not None and length.isdigit() and int(length) > max_body_bytes:
            return errors.refusal(errors.TooLarge(max_body_bytes))
        response = view(request, **names)
        if response.status_code == 405:
            refused = errors.answer(request, 405)
            refused["Allow"] = response["Allow"]
            return refused
        return response

    answer.answers_json = True  # type: ignore[attr-defined]
    return answer


@require_safe
def openapi(request: HttpRequest) -> HttpResponseBase:
    """The whole tenant API's description, the data plane's included, for anybody who can reach it."""
    return JsonResponse(joined(api.get_openapi_schema(path_prefix="/v1/")))


def _addresses() -> Iterator[URLPattern]:
    seen = set()
    for pattern in api.urls[0]:
        route = str(pattern.pattern)
        if route in seen or not route or not isinstance(pattern, URLPattern):  # "" is ninja's own home
            continue
        seen.add(route)
        view = tenant_api(pattern.callback, None if route == UPLOADS else MAX_BODY_BYTES)
        for address in (f"v1/{route}", f"v1/{route}/", route):
            yield path(address, view)


urlpatterns = [path(f"v1/{OPENAPI}", tenant_api(openapi)), *_addresses()]
