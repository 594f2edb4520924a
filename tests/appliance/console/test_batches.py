"""Batches in the console: who sees which, how far they are, their files, and cancelling."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.utils import timezone

from appliance.batches.models import Batch
from appliance.training import files
from appliance.training.models import StoredFile
from tests.appliance.console.batching import TEXT, batch_of, stored
from tests.appliance.console.cast import Cast

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def batch(cast: Cast) -> Iterator[Batch]:
    row = batch_of(cast.acme)
    yield row
    for file in StoredFile.objects.all():
        files.path(file).unlink(missing_ok=True)


def test_a_member_sees_their_tenants_batches_and_an_operator_all(cast: Cast, batch: Batch) -> None:
    theirs = batch_of(cast.rivals)
    for name, seen in (("operator", {batch, theirs}), ("developer", {batch}), ("rival", {theirs}), ("stranger", set())):
        page = cast.client(name).get("/batches/").content.decode()
        assert {row for row in (batch, theirs) if row.pk in page} == seen
        for row in (batch, theirs):
            status = 200 if row in seen else 404
            for path in ("", "?part=live", "input.jsonl"):
                response = cast.client(name).get(f"/batches/{row.pk}/{path}")
                response.close()
                assert response.status_code == status


def test_the_list_is_filtered_by_state_and_tenant(cast: Cast, batch: Batch) -> None:
    client = cast.client("operator")
    assert batch.pk in client.get("/batches/?state=in_progress&tenant=acme").content.decode()
    assert batch.pk not in client.get("/batches/?state=completed").content.decode()
    assert batch.pk not in client.get("/batches/?tenant=rivals&part=live").content.decode()
    assert cast.client("developer").get("/batches/?tenant=rivals").status_code == 404


def test_an_empty_list_shows_how_the_first_one_is_begun(cast: Cast) -> None:
    page = cast.client("developer").get("/batches/").content.decode()
    assert "client.batches.create(" in page


def test_a_batch_shows_how_far_it_is_and_what_it_waits_for(cast: Cast, batch: Batch) -> None:
    Batch.objects.filter(pk=batch.pk).update(note="Waiting: the gateway does not answer.")
    page = cast.client("developer").get(f"/batches/{batch.pk}/").content.decode()
    assert '<meter min="0" max="1200" value="304"' in page
    assert "Waiting: the gateway does not answer." in page
    assert "Cancel this batch" not in page
    assert f"<dt>Expires</dt><dd>{timezone.localtime(batch.expires_at):%Y-%m-%d %H:%M}</dd>" in page
    owner = cast.client("owner")
    owner.post("/language/", {"language": "zh-hans", "next": "/"})
    translated = owner.get(f"/batches/{batch.pk}/").content.decode()
    assert "网关没有响应" in translated
    assert "取消这个批处理" in translated


def test_a_failed_batch_shows_its_faults_as_text(cast: Cast, batch: Batch) -> None:
    fault = {"code": "invalid_method", "line": 7, "message": HOSTILE, "param": None}
    Batch.objects.filter(pk=batch.pk).update(status="failed", errors=[fault] * 30, metadata={HOSTILE: HOSTILE})
    page = cast.client("developer").get(f"/batches/{batch.pk}/").content.decode()
    assert page.count("<code>invalid_method</code>") == 20
    assert "10 more" in page
    assert HOSTILE not in page
    assert "Expires" not in page, "it is over"


def test_its_files_are_downloads_and_only_while_they_are_there(cast: Cast, batch: Batch) -> None:
    client = cast.client("developer")
    assert client.get(f"/batches/{batch.pk}/output.jsonl").status_code == 404
    assert client.get(f"/batches/{batch.pk}/nothing.jsonl").status_code == 404
    batch.output_file = stored(cast.acme, "out.jsonl", "batch_output")
    batch.save()
    response = client.get(f"/batches/{batch.pk}/output.jsonl")
    assert response["Content-Disposition"] == 'attachment; filename="out.jsonl"'
    assert b"".join(response.streaming_content) == TEXT  # type: ignore[attr-defined]
    files.delete(batch.output_file)
    assert client.get(f"/batches/{batch.pk}/output.jsonl").status_code == 404
    assert "deleted" in client.get(f"/batches/{batch.pk}/").content.decode()


def test_files_of_batches_are_no_data_for_fine_tuning(cast: Cast, batch: Batch) -> None:
    client = cast.client("operator")
    assert batch.input_file_id not in client.get("/data/").content.decode()
    assert client.get(f"/data/{batch.input_file_id}/").status_code == 404


def test_owners_and_operators_cancel_after_being_told_what_that_means(cast: Cast, batch: Batch) -> None:
    path = f"/batches/{batch.pk}/cancel/"
    assert cast.client("developer").post(path).status_code == 403
    assert cast.client("rival").post(path).status_code == 404
    assert "896 lines" in cast.client("owner").get(path).content.decode()
    assert cast.client("owner").post(path, follow=True).status_code == 200
    assert Batch.objects.get(pk=batch.pk).status == "cancelling"
    Batch.objects.filter(pk=batch.pk).update(status="completed")
    assert "nothing to cancel" in cast.client("operator").post(path, follow=True).content.decode()
    assert cast.client("operator").get(path).status_code == 302
