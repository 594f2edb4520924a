"""`/v1/batches`: what is taken, what is refused and how it is said."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.audit.models import AuditEntry
from appliance.batches import batches
from appliance.batches.models import Batch
from appliance.tenants.models import Plan
from tests.appliance.api.callers import CHAT, Caller, refused


def asked(caller: Caller, **fields: Any) -> dict[str, Any]:
    return {"input_file_id": caller.batch().input_file_id, "endpoint": CHAT, "completion_window": "24h", **fields}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"x" * 65: "y"}}, "metadata"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": {"x": 1}}, "metadata.x"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 3600}}, "output_expires_after"),
    ],
)
def test_a_field_that_can_not_be_used_is_named(acme: Caller, fields: dict[str, Any], param: str) -> None:
    assert refused(acme.call("POST", "/v1/batches", asked(acme, **fields)), 400)["param"] == param
    assert Batch.objects.count() == 1


def test_a_file_for_fine_tuning_is_none_for_a_batch(acme: Caller) -> None:
    body = asked(acme, input_file_id=acme.file().pk)
    assert refused(acme.call("POST", "/v1/batches", body), 400)["param"] == "input_file_id"


def test_a_deleted_file_is_an_unknown_one(acme: Caller) -> None:
    body = asked(acme)
    Batch.objects.update(status="completed")
    assert acme.call("DELETE", f"/v1/files/{body['input_file_id']}").status_code == 200
    assert refused(acme.call("POST", "/v1/batches", body), 400)["code"] == "file_not_found"


def test_a_tenant_has_so_many_at_once_and_others_none_the_less(
    acme: Caller, rivals: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST_OPEN", 1)
    body = asked(acme)
    assert refused(acme.call("POST", "/v1/batches", body), 400)["code"] == "too_many_batches"
    rivals.batch()
    Batch.objects.update(status="expired")
    assert acme.post("/v1/batches", body)["status"] == "validating"


def test_a_tenant_whose_answers_are_more_files_than_its_plan_keeps_deletes_some_first(acme: Caller) -> None:
    body = asked(acme)
    spare = acme.file().pk
    Plan.objects.update(max_files=2)
    assert acme.post("/v1/batches", body)["status"] == "validating"
    Plan.objects.update(max_files=1)
    assert refused(acme.call("POST", "/v1/batches", body), 400)["code"] == "too_many_files"
    assert acme.call("DELETE", f"/v1/files/{spare}").status_code == 200
    assert acme.post("/v1/batches", body)["status"] == "validating"


@pytest.mark.parametrize("status", ["completed", "failed", "expired", "cancelled"])
def test_a_batch_that_is_over_is_not_cancelled(acme: Caller, status: str) -> None:
    batch = acme.batch()
    Batch.objects.update(status=status)
    assert refused(acme.call("POST", f"/v1/batches/{batch.pk}/cancel"), 400)["param"] == "batch_id"


def test_the_audit_log_has_who_began_and_who_cancelled(acme: Caller) -> None:
    batch = acme.batch()
    for _ in range(2):
        acme.post(f"/v1/batches/{batch.pk}/cancel")
    found = AuditEntry.objects.filter(subject=batch.pk).order_by("pk").values_list("action", "actor")
    assert list(found) == [(action, f"key:{acme.key.prefix}") for action in ("batch.create", "batch.cancel")]


@pytest.mark.parametrize("name", ["rows.zip", "rows.tar.gz", "rows.txt"])
def test_an_upload_for_a_batch_is_jsonl(acme: Caller, name: str) -> None:
    error = refused(acme.upload(name=name, data=b"{}", purpose="batch"), 400)
    assert error["param"] == "file"
    assert "batch" in error["message"]


def test_nobody_uploads_a_batchs_output(acme: Caller) -> None:
    assert refused(acme.upload(purpose="batch_output"), 400)["param"] == "purpose"


def test_a_batchs_file_has_no_cleaning_report(acme: Caller) -> None:
    file_id = acme.batch().input_file_id
    assert "only files for fine-tuning" in refused(acme.call("GET", f"/v1/files/{file_id}/report"), 404)["message"]
