"""Whose acts a request's acts are: the audit log has the name of the person who is logged in."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from appliance.audit.actor import SYSTEM, acting


def acting_person(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: name the person for as long as the request runs; the API names its key instead."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        with acting(request.user.get_username() if request.user.is_authenticated else SYSTEM):
            return get_response(request)

    return answer
