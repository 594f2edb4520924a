"""Every address of the console times everybody in the cast."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.urls import URLPattern

from appliance.tenants.keys import mint
from appliance.urls import urlpatterns
from tests.appliance.console import operations, tuning
from tests.appliance.console.batching import batch_of
from tests.appliance.console.cast import Cast
from tests.appliance.conversations import keeping

OK, GONE, NO, LOGIN, POST_ONLY = 200, 404, 403, 302, 405
PEOPLE = ("operator", "owner", "developer", "rival", "stranger", None)
# route -> the status for each of PEOPLE; addresses are Acme's
MATRIX = {
    "overview": ("/", (OK, 302, 302, 302, OK, LOGIN)),
    "serving": ("/serving/", (OK, NO, NO, NO, NO, LOGIN)),
    "capacity": ("/capacity/", (OK, NO, NO, NO, NO, LOGIN)),
    "models": ("/models/", (OK, NO, NO, NO, NO, LOGIN)),
    "tenants": ("/tenants/", (OK, OK, OK, OK, OK, LOGIN)),
    "tenant_new": ("/tenants/new/", (OK, NO, NO, NO, NO, LOGIN)),
    "tenant": ("/tenants/acme/", (OK, OK, OK, GONE, GONE, LOGIN)),
    "keys": ("/tenants/acme/keys/", (OK, OK, OK, GONE, GONE, LOGIN)),
    "key_limits": ("/tenants/acme/keys/{key}/limits/", (OK, OK, NO, GONE, GONE, LOGIN)),
    "key_revoke": ("/tenants/acme/keys/{key}/revoke/", (OK, OK, NO, GONE, GONE, LOGIN)),
    "tenant_policy": ("/tenants/acme/policy/", (*[POST_ONLY] * 5, LOGIN)),
    "alias_set": ("/tenants/acme/aliases/set/", (*[POST_ONLY] * 5, LOGIN)),
    "alias_remove": ("/tenants/acme/aliases/remove/", (*[POST_ONLY] * 5, LOGIN)),
    "fine_tuning": ("/fine-tuning/?tenant=acme", (OK, OK, OK, GONE, GONE, LOGIN)),
    "job": ("/fine-tuning/{job}/", (OK, OK, OK, GONE, GONE, LOGIN)),
    "job_cancel": ("/fine-tuning/{job}/cancel/", (OK, OK, NO, GONE, GONE, LOGIN)),
    "job_pause": ("/fine-tuning/{job}/pause/", (*[POST_ONLY] * 5, LOGIN)),
    "job_resume": ("/fine-tuning/{job}/resume/", (*[POST_ONLY] * 5, LOGIN)),
    "data": ("/data/?tenant=acme", (OK, OK, OK, GONE, GONE, LOGIN)),
    "file": ("/data/{file}/", (OK, OK, OK, GONE, GONE, LOGIN)),
    "file_report_html": ("/data/{file}/report.html", (OK, OK, OK, GONE, GONE, LOGIN)),
    "file_report_json": ("/data/{file}/report.json", (OK, OK, OK, GONE, GONE, LOGIN)),
    "file_delete": ("/data/{file}/delete/", (OK, OK, NO, GONE, GONE, LOGIN)),
    "file_erase": ("/data/{file}/erase/", (OK, OK, NO, GONE, GONE, LOGIN)),
    "file_sign": ("/data/{file}/sign/", (*[POST_ONLY] * 5, LOGIN)),
    "file_unsign": ("/data/{file}/unsign/", (*[POST_ONLY] * 5, LOGIN)),
    "erasures": ("/erasures/", (OK, OK, OK, OK, OK, LOGIN)),
    "erasure": ("/erasures/{erasure}/", (OK, OK, OK, GONE, GONE, LOGIN)),
    "erasure_file": ("/erasures/{erasure}/certificate.json", (OK, OK, OK, GONE, GONE, LOGIN)),
    "approvals": ("/approvals/", (OK, OK, OK, OK, OK, LOGIN)),
    "approval_approve": ("/approvals/{adapter}/approve/", (OK, OK, NO, GONE, GONE, LOGIN)),
    "approval_reject": ("/approvals/{adapter}/reject/", (OK, OK, NO, GONE, GONE, LOGIN)),
    "adapter": ("/models/adapters/{adapter}/", (OK, OK, OK, GONE, GONE, LOGIN)),
    "adapter_withdraw": ("/models/adapters/{adapter}/withdraw/", (OK, OK, NO, GONE, GONE, LOGIN)),
    "playground": ("/playground/?tenant=acme", (OK, OK, OK, GONE, GONE, LOGIN)),
    "playground_key": ("/playground/key/", (*[POST_ONLY] * 5, LOGIN)),
    "guide": ("/guide/?tenant=acme", (OK, OK, OK, GONE, GONE, LOGIN)),
    "upgrades": ("/upgrades/", (OK, NO, NO, NO, NO, LOGIN)),
    "upgrade": ("/upgrades/{upgrade}/", (OK, NO, NO, NO, NO, LOGIN)),
    "acceptance": ("/acceptance/", (OK, NO, NO, NO, NO, LOGIN)),
    "acceptance_run": ("/acceptance/{run}/", (OK, NO, NO, NO, NO, LOGIN)),
    "certificate_html": ("/acceptance/{run}/certificate.html", (OK, NO, NO, NO, NO, LOGIN)),
    "certificate_json": ("/acceptance/{run}/certificate.json", (OK, NO, NO, NO, NO, LOGIN)),
    "audit": ("/audit/", (OK, NO, NO, NO, NO, LOGIN)),
    "batches": ("/batches/?tenant=acme", (OK, OK, OK, GONE, GONE, LOGIN)),
    "batch": ("/batches/{batch}/", (OK, OK, OK, GONE, GONE, LOGIN)),
    "batch_cancel": ("/batches/{batch}/cancel/", (OK, OK, NO, GONE, GONE, LOGIN)),
    "batch_file": ("/batches/{batch}/input.jsonl", (OK, OK, OK, GONE, GONE, LOGIN)),
    "conversations": ("/tenants/acme/conversations/", (NO, OK, NO, GONE, GONE, LOGIN)),
    "conversations_off": ("/tenants/acme/conversations/off/", (*[POST_ONLY] * 5, LOGIN)),
    "conversations_erase": ("/tenants/acme/conversations/erase/", (NO, OK, NO, GONE, GONE, LOGIN)),
    "conversations_file": ("/tenants/acme/conversations.jsonl", (NO, OK, NO, GONE, GONE, LOGIN)),
    "conversation": ("/tenants/acme/conversations/{conversation}/", (NO, OK, NO, GONE, GONE, LOGIN)),
    "usage": ("/usage/?tenant=acme", (OK, OK, OK, GONE, GONE, LOGIN)),
}
OPEN = {"login", "logout", "set_language"}
CASES = [
    (route, person, address, status)
    for route, (address, statuses) in MATRIX.items()
    for person, status in zip(PEOPLE, statuses, strict=True)
]


@pytest.mark.parametrize(("route", "person", "address", "status"), CASES)
def test_it_answers_each_person_as_the_matrix_says(
    cast: Cast, tmp_path: Path, route: str, person: str, address: str, status: int
) -> None:
    key, _ = mint(cast.acme, "first")
    file = tuning.upload(cast.acme)
    tuning.clean(file, tmp_path)
    adapter = tuning.finish(tuning.start(cast.acme, by=cast.developer))
    ids: dict[str, object] = {"key": key.pk, "file": file.pk, "job": tuning.start(cast.acme).pk, "adapter": adapter.pk}
    ids |= {"upgrade": operations.upgrade().pk, "run": operations.accepted(files=True).pk}
    ids["batch"] = batch_of(cast.acme).pk
    ids["erasure"] = tuning.erased(cast.acme).pk if route.startswith("erasure") else ""
    if route == "conversation":
        keeping.turn_on(cast.acme)
        ids["conversation"] = keeping.kept(cast.acme).pk
    response = cast.client(person).get(address.format(**ids))
    assert response.status_code == status
    if person is None:
        assert response["Location"].startswith("/login/?next=")
    response.close()


def test_it_has_every_route_in_the_matrix() -> None:
    named = {route.name for route in urlpatterns if isinstance(route, URLPattern) and route.name}
    assert named == set(MATRIX) | OPEN


@pytest.mark.parametrize("person", ["owner", "stranger"])
def test_it_keeps_the_record_editor_for_operators(cast: Cast, person: str) -> None:
    response = cast.client(person).get("/admin/tenants/plan/", follow=True)
    assert response.status_code == 403


def test_it_answers_a_rival_as_if_the_tenant_did_not_exist(cast: Cast) -> None:
    rival = cast.client("rival")
    theirs, nobodys = rival.get("/tenants/acme/"), rival.get("/tenants/no-such-tenant/")
    assert theirs.content == nobodys.content


def test_it_lists_only_own_tenants(cast: Cast) -> None:
    page = cast.client("rival").get("/tenants/").content.decode()
    assert "Rivals" in page
    assert "Acme" not in page


def test_it_leads_a_member_to_the_own_tenant(cast: Cast) -> None:
    assert cast.client("owner").get("/")["Location"] == "/tenants/acme/"


@pytest.mark.parametrize("person", ["owner", "developer"])
def test_it_shows_members_no_link_to_operators_pages(cast: Cast, person: str) -> None:
    page = cast.client(person).get("/tenants/acme/").content.decode()
    assert "/serving/" not in page
    assert "/admin/" not in page


@pytest.mark.parametrize("address", ["/fine-tuning/ftjob-{}/", "/data/file-{}/", "/models/adapters/{}/"])
def test_it_answers_a_rival_as_if_the_thing_did_not_exist(cast: Cast, address: str) -> None:
    job = tuning.start(cast.acme)
    adapter = tuning.finish(job)
    ids = {"/f": job.pk.removeprefix("ftjob-"), "/d": job.training_file_id.removeprefix("file-"), "/m": str(adapter.pk)}
    client = cast.client("rival")
    theirs = client.get(address.format(ids[address[:2]]))
    nobodys = client.get(address.format("00000000-0000-4000-8000-000000000000"))
    assert theirs.status_code == 404
    assert theirs.content == nobodys.content
    assert cast.client("developer").get(address.format(ids[address[:2]])).status_code == 200
