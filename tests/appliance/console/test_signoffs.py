"""Signing off a file's data report in the console: who is offered it, what it says, what a fine-tune's page says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.utils.html import escape

from appliance.console.report import KNOWN_LIMITS
from appliance.tenants.models import Tenant
from appliance.training import signing
from appliance.training.models import Dataset, Job, Signoff, StoredFile
from finetune.data.report import LIMITS
from tests.appliance.console import tuning
from tests.appliance.console.cast import Cast

FORM = "Sign off this report"
BACK = "Take the sign-off back"


@pytest.fixture
def file(cast: Cast, tmp_path: Path) -> StoredFile:
    found = tuning.upload(cast.acme)
    tuning.clean(found, tmp_path)
    return found


def page(cast: Cast, address: str, person: str = "owner") -> str:
    response = cast.client(person).get(address)
    assert response.status_code == 200
    return response.content.decode()


def digest(file: StoredFile) -> str:
    return signing.report_digest(Dataset.objects.get(file=file))


def post(cast: Cast, file: StoredFile, act: str = "sign", person: str = "owner", **fields: str) -> str:
    """Where it leads, as a page; the status where it leads nowhere."""
    data = {"digest": digest(file), "comment": "read <all> of it"} | fields
    response = cast.client(person).post(f"/data/{file.pk}/{act}/", data, follow=True)
    return response.content.decode() if response.status_code == 200 else str(response.status_code)


@pytest.mark.parametrize("person", ["owner", "operator"])
def test_it_is_signed_at_the_end_of_the_report(cast: Cast, file: StoredFile, person: str) -> None:
    before = page(cast, f"/data/{file.pk}/", person)
    assert before.index("Residual samples") < before.index(FORM)
    after = post(cast, file, person=person)
    assert "The data report is signed off." in after
    assert escape("read <all> of it") in after
    assert digest(file) in after
    assert FORM not in after
    assert Signoff.objects.get().user == getattr(cast, person)


def test_a_developer_reads_that_others_sign(cast: Cast, file: StoredFile) -> None:
    shown = page(cast, f"/data/{file.pk}/", "developer")
    assert "Operators and the owners of this tenant may sign it off." in shown
    assert FORM not in shown


@pytest.mark.parametrize(("person", "status"), [("developer", "403"), ("rival", "404"), ("stranger", "404")])
@pytest.mark.parametrize("act", ["sign", "unsign"])
def test_nobody_else_signs_or_takes_back(cast: Cast, file: StoredFile, act: str, person: str, status: str) -> None:
    if act == "unsign":
        post(cast, file)
    assert post(cast, file, act, person) == status
    assert Signoff.objects.filter(revoked_at=None).count() == (act == "unsign")


def test_a_report_that_changed_while_it_was_read_is_not_signed(cast: Cast, file: StoredFile) -> None:
    assert "is another one by now; read it again." in post(cast, file, digest="0" * 64)
    assert not Signoff.objects.exists()


def test_it_is_taken_back_until_a_fine_tune_has_gone_on_by_it(cast: Cast, file: StoredFile) -> None:
    assert BACK in post(cast, file)
    assert "The sign-off is taken back." in post(cast, file, "unsign")
    assert "Earlier sign-offs" in post(cast, file)
    job = tuning.start(cast.acme, training_file=file)
    job.signoffs.add(Signoff.objects.get(revoked_at=None))
    assert BACK not in page(cast, f"/data/{file.pk}/")
    assert escape("can't be taken back any more") in post(cast, file, "unsign")
    told = page(cast, f"/fine-tuning/{job.pk}/")
    assert "Data signed off by" in told
    assert cast.owner.username in told


def test_a_fine_tune_that_waits_names_the_report_to_read(cast: Cast, file: StoredFile) -> None:
    Tenant.objects.filter(pk="acme").update(needs_signoff=True)
    job = tuning.start(cast.acme, training_file=file, status="queued")
    reason = f'href="/data/{file.pk}/#signoff"'
    assert reason in page(cast, f"/fine-tuning/{job.pk}/")
    assert "This report is not signed off yet" in page(cast, f"/data/{file.pk}/")
    post(cast, file)
    assert reason not in page(cast, f"/fine-tuning/{job.pk}/")
    assert "This report is not signed off yet" not in page(cast, f"/data/{file.pk}/")
    assert Job.objects.get(pk=job.pk).events.filter(message__contains="signed off by").exists()


def test_only_operators_make_the_rule(cast: Cast) -> None:
    address = "/tenants/acme/policy/"
    assert cast.client("owner").post(address, {"needs_signoff": "yes"}).status_code == 403
    assert not Tenant.objects.get(pk="acme").needs_signoff
    for value, kept in (("yes", True), ("perhaps", True), ("no", False)):
        cast.client("operator").post(address, {"needs_signoff": value})
        assert Tenant.objects.get(pk="acme").needs_signoff is kept
    assert "begin without a sign-off" in page(cast, "/tenants/acme/", "operator")


def test_it_knows_the_sentence_of_the_reports_that_cleaning_makes() -> None:
    assert KNOWN_LIMITS == LIMITS
