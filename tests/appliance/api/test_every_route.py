"""What holds for every route there is: no key, a bad key, a stranger. A route that is missing from the table below fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from appliance.api.app import api
from appliance.api.urls import urlpatterns
from appliance.registry.models import AdapterState
from appliance.tenants.keys import mint, revoke
from appliance.tenants.models import Tenant, User
from inference.gateway import errors as gateway
from inference.gateway.openapi import document as data_plane
from tests.appliance.api.callers import MODEL, Caller, refused
from tests.appliance.api.used import days, used

# What a request needs to succeed: the ids in its path, made of its tenant's rows.
NONE: Callable[[Caller], str] = lambda caller: ""  # noqa: E731
FILE: Callable[[Caller], str] = lambda caller: caller.file().pk  # noqa: E731
JOB: Callable[[Caller], str] = lambda caller: caller.job().pk  # noqa: E731
BATCH: Callable[[Caller], str] = lambda caller: caller.batch().pk  # noqa: E731
ADAPTER: Callable[[Caller], str] = lambda caller: caller.adapter(AdapterState.ACTIVE).name  # noqa: E731
ROUTES: dict[str, Callable[[Caller], str]] = {
    "GET /v1/batches": NONE,
    "POST /v1/batches": NONE,
    "GET /v1/batches/{batch_id}": BATCH,
    "POST /v1/batches/{batch_id}/cancel": BATCH,
    "GET /v1/files": NONE,
    "POST /v1/files": NONE,
    "GET /v1/files/{file_id}": FILE,
    "DELETE /v1/files/{file_id}": FILE,
    "GET /v1/files/{file_id}/content": FILE,
    "GET /v1/files/{file_id}/report": FILE,
    "GET /v1/fine_tuning/jobs": NONE,
    "POST /v1/fine_tuning/jobs": NONE,
    "GET /v1/fine_tuning/jobs/{job_id}": JOB,
    "POST /v1/fine_tuning/jobs/{job_id}/cancel": JOB,
    "POST /v1/fine_tuning/jobs/{job_id}/pause": JOB,
    "POST /v1/fine_tuning/jobs/{job_id}/resume": JOB,
    "GET /v1/fine_tuning/jobs/{job_id}/events": JOB,
    "GET /v1/fine_tuning/jobs/{job_id}/checkpoints": JOB,
    "DELETE /v1/models/{model_id}": ADAPTER,
    "GET /v1/organization/usage/completions": NONE,
    "GET /v1/organization/costs": NONE,
    "GET /v1/user/balance": NONE,
}
WITH_IDS = [route for route, own in ROUTES.items() if own is not NONE]
LISTS = ["GET /v1/batches", "GET /v1/files", "GET /v1/fine_tuning/jobs"]
SUMS = ["GET /v1/organization/usage/completions", "GET /v1/organization/costs"]
INVALID_KEY = gateway.invalid_key().fields()


def filled(route: str, row_id: str) -> tuple[str, str]:
    """The method and the path with this id."""
    method, _, path = route.partition(" ")
    return method, path[: path.index("{")] + row_id + path[path.index("}") + 1 :] if "{" in path else path


def paths() -> dict[str, Any]:
    found: dict[str, Any] = api.get_openapi_schema(path_prefix="/v1/")["paths"]
    return found


def test_the_table_has_every_route_and_no_other() -> None:
    assert set(ROUTES) == {f"{method.upper()} {path}" for path, methods in paths().items() for method in methods}


def test_every_route_is_reached_only_through_the_guard() -> None:
    assert len(urlpatterns) > 3 * len(paths())
    assert all(getattr(pattern.callback, "answers_json", False) for pattern in urlpatterns)


def revoked(caller: Caller) -> str:
    key, secret = mint(caller.tenant, "revoked")
    revoke(key)
    return f"Bearer {secret}"


def expired(caller: Caller) -> str:
    return f"Bearer {mint(caller.tenant, 'expired', expires_at=timezone.now() - timedelta(seconds=1))[1]}"


def of_a_tenant_switched_off(caller: Caller) -> str:
    off, _ = Tenant.objects.get_or_create(id="off", name="Off", plan=caller.tenant.plan, is_active=False)
    return f"Bearer {mint(off, 'off')[1]}"


BAD_KEYS: list[Callable[[Caller], str]] = [
    lambda caller: "",
    lambda caller: "Bearer",
    lambda caller: "Bearer ",
    lambda caller: caller.secret,
    lambda caller: f"Basic {caller.secret}",
    lambda caller: f"Bearer {caller.secret[:-1]}",
    lambda caller: f"Bearer {caller.key.digest}",
    lambda caller: "Bearer " + "x" * 5000,
    lambda caller: "Bearer \x7f\xe9",
    revoked,
    expired,
    of_a_tenant_switched_off,
]


@pytest.mark.parametrize("route", ROUTES)
def test_a_bad_key_gets_the_gateways_one_answer(acme: Caller, route: str) -> None:
    method, path = filled(route, "file-1")
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_user("owner", is_staff=True, is_superuser=True))  # a session changes nothing
    assert refused(client.generic(method, path), 401) == INVALID_KEY
    for bad in BAD_KEYS:
        response = client.generic(method, path, headers={"Authorization": bad(acme)})
        assert refused(response, 401) == INVALID_KEY
        assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", WITH_IDS)
def test_a_strangers_id_and_an_unknown_one_get_the_same_answer(acme: Caller, rivals: Caller, route: str) -> None:
    row_id = ROUTES[route](acme)
    theirs = refused(rivals.call(*filled(route, row_id)), 404)
    unknown = refused(rivals.call(*filled(route, row_id[:-1] + ("1" if row_id[-1] != "1" else "2"))), 404)
    assert theirs == unknown
    assert row_id not in theirs["message"]
    own = acme.call(*filled(route, row_id))
    own.close()
    if "report" not in route and "resume" not in route:  # nothing has been cleaned, nothing is paused
        assert own.status_code == 200


@pytest.mark.parametrize("route", WITH_IDS)
def test_odd_ids_are_unknown_ones(acme: Caller, route: str) -> None:
    for odd in ("%00", "x" * 5000, "%EF%BF%BD", "%C3%A9", "%20", "'--", "file-1%0A"):
        assert refused(acme.call(*filled(route, odd)), 404)["code"] in {"not_found", "model_not_found"}


@pytest.mark.parametrize("column", ["training_file", "validation_file"])
def test_a_strangers_file_is_an_unknown_one_in_a_body_too(acme: Caller, rivals: Caller, column: str) -> None:
    asked = {"model": MODEL, "training_file": rivals.file().pk}
    theirs = refused(rivals.call("POST", "/v1/fine_tuning/jobs", {**asked, column: acme.file().pk}), 400)
    unknown = refused(rivals.call("POST", "/v1/fine_tuning/jobs", {**asked, column: "file-0"}), 400)
    assert (theirs["param"], theirs["code"]) == (unknown["param"], unknown["code"]) == (column, "file_not_found")


def test_a_strangers_file_is_an_unknown_one_for_a_batch_too(acme: Caller, rivals: Caller) -> None:
    asked = {"endpoint": "/v1/completions", "completion_window": "24h"}
    theirs = refused(rivals.call("POST", "/v1/batches", {**asked, "input_file_id": acme.batch().input_file_id}), 400)
    assert theirs == refused(rivals.call("POST", "/v1/batches", {**asked, "input_file_id": "file-0"}), 400)
    assert (theirs["param"], theirs["code"]) == ("input_file_id", "file_not_found")


def test_every_route_that_shows_rows_is_a_list_or_a_sum() -> None:
    shown = {route for route, own in ROUTES.items() if route.startswith("GET") and own is NONE}
    assert shown == {*LISTS, *SUMS, "GET /v1/user/balance"}


@pytest.mark.parametrize("route", SUMS)
def test_a_strangers_rows_are_in_no_sum(acme: Caller, rivals: Caller, route: str) -> None:
    used(acme)
    _, path = filled(route, "")
    groups = "group_by=api_key_id&group_by=project_id"
    for query in ("start_time=0", f"start_time=0&{groups}", f"start_time=0&{groups}&api_key_ids={acme.key.pk}"):
        assert [bucket for bucket in days(acme, f"{path}?{query}") if bucket["results"]]
        theirs = days(rivals, f"{path}?{query}&project_ids=acme") + days(rivals, f"{path}?{query}")
        assert [bucket for bucket in theirs if bucket["results"]] == []


@pytest.mark.parametrize("route", LISTS)
def test_a_strangers_rows_are_in_no_list(acme: Caller, rivals: Caller, route: str) -> None:
    acme.job()
    acme.batch()
    method, path = filled(route, "")
    assert rivals.get(path)["data"] == []
    assert acme.get(path)["data"]
    row_id = acme.get(path)["data"][0]["id"]
    theirs = refused(rivals.call(method, f"{path}?after={row_id}"), 400)
    assert theirs == refused(rivals.call(method, f"{path}?after=unknown"), 400)


@pytest.mark.parametrize("path", paths())
def test_a_wrong_method_is_told_which_are_right(acme: Caller, path: str) -> None:
    response = acme.call("PUT", path)
    assert refused(response, 405)["type"] == "invalid_request_error"
    assert response["Allow"]


@pytest.mark.parametrize("route", ROUTES)
def test_a_database_that_is_away_is_said_as_json(acme: Caller, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("appliance.api.auth.ApiKey.objects.select_related", away)
    method, path = filled(route, "file-1")
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {acme.secret}"})
    for address in (path, path.removeprefix("/v1")):
        response = client.generic(method, address)
        assert refused(response, 503)["code"] == "overloaded"
        assert response["Retry-After"]


def test_the_description_is_open_to_all_and_fetches_nothing(db: None) -> None:
    described = Client().get("/v1/openapi.json")
    assert described.status_code == 200
    assert set(described.json()["paths"]) == {*paths(), *data_plane()["paths"]}
    assert set(described.json()["paths"]["/v1/models/{model_id}"]) == {"get", "head", "delete"}
    assert "http" not in described.content.decode().replace('"type": "http"', "")
    assert refused(Client(enforce_csrf_checks=True).post("/v1/openapi.json"), 405)


def test_there_is_no_page_for_trying_it_out(acme: Caller) -> None:
    for path in ("/v1/docs", "/v1", "/v1/"):
        assert refused(Client(enforce_csrf_checks=True).post(path), 404)["type"] == "invalid_request_error"
