"""The tenant API beside the data plane: its resources, who may call it, and how everything that goes wrong is said."""

from __future__ import annotations

from typing import NoReturn

from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from appliance.api import errors, parsing
from appliance.api.auth import KeyAuth
from appliance.api.v1 import balance, batches, costs, files, fine_tuning, models, usage
from appliance.training.errors import Refused

# One line for each resource.
ROUTERS = {
    "/batches": batches.router,
    "/files": files.router,
    "/fine_tuning": fine_tuning.router,
    "/models": models.router,
    "/organization": costs.router,
    "/organization/usage": usage.router,
    "/user": balance.router,
}


def build() -> NinjaAPI:
    """The API with its routers and handlers. It has no docs page: that would load its assets from elsewhere."""
    api = NinjaAPI(
        title="Coderack tenant API",
        version="1",
        description="Chat, completions and models; files, fine-tuning, batches, usage and costs.",
        openapi_url=None,
        docs_url=None,
        auth=KeyAuth(),
        parser=parsing.StrictParser(),
    )
    for prefix, router in ROUTERS.items():
        api.add_router(prefix, router)
    api.add_exception_handler(Refused, _refused)
    api.add_exception_handler(ValidationError, _invalid)
    api.add_exception_handler(HttpError, _http_error)
    api.add_exception_handler(Http404, _not_there)
    api.add_exception_handler(Exception, _failed)
    return api


def _refused(request: HttpRequest, error: Refused | type[Refused]) -> HttpResponse:
    assert isinstance(error, Refused)  # noqa: S101 - ninja hands instances
    return errors.refusal(error)


def _invalid(request: HttpRequest, error: ValidationError | type[ValidationError]) -> HttpResponse:
    assert isinstance(error, ValidationError)  # noqa: S101
    return errors.refusal(parsing.first_fault(error))


def _http_error(request: HttpRequest, error: HttpError | type[HttpError]) -> HttpResponse:
    """Ninja's own: a key that was not found, a body that can't be parsed."""
    assert isinstance(error, HttpError)  # noqa: S101
    return errors.refusal(parsing.UNREADABLE) if error.status_code == 400 else errors.answer(request, error.status_code)


def _not_there(request: HttpRequest, error: Http404 | type[Http404]) -> HttpResponse:
    return errors.answer(request, 404)


def _failed(request: HttpRequest, error: Exception | type[Exception]) -> NoReturn:
    """To Django's handler, which logs it with an id; ninja's own shows a traceback while debugging."""
    raise error


api = build()
