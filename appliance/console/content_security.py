"""The Content-Security-Policy of every console answer.

The console's own pages need nothing but files of this origin, so theirs is strict: no inline script, no inline style, no eval.
The record editor under /admin/ is django-unfold as it ships: Alpine evaluates its attributes (`unsafe-eval`) and the theme's
colours come as a style element (`unsafe-inline` for styles). Inline scripts are refused there too.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

SHARED = (
    "default-src 'none'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
STRICT = f"{SHARED}; script-src 'self'; style-src 'self'"
EDITOR = f"{SHARED}; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'"
SEALED = "default-src 'none'; sandbox"
EDITOR_PREFIX = "/admin/"


def content_security(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: add the policy, and forbid caches to keep pages that show a tenant's data."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        policy = EDITOR if request.path.startswith(EDITOR_PREFIX) else STRICT
        response.setdefault("Content-Security-Policy", policy)  # a file to take along has a stricter one of its own
        response.setdefault("Cache-Control", "no-store")
        return response

    return answer
