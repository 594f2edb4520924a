"""`coderack batch`: what it shows, cancels and refuses."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from click.testing import Result
from django.utils import timezone
from typer.testing import CliRunner

from appliance.batches.models import Batch
from appliance.first_rows import ensure_base
from appliance.tenants.models import Tenant
from appliance.training.models import StoredFile
from ops.cli.main import app
from ops.cli.printing import Exit

pytestmark = pytest.mark.usefixtures("batch")


def batch_of(tenant_id: str) -> Batch:
    tenant = Tenant.objects.create(id=tenant_id, name=tenant_id, plan=ensure_base())
    file = StoredFile.objects.create(tenant=tenant, purpose="batch", filename="a.jsonl", bytes=1, sha256="0")
    return Batch.objects.create(
        tenant=tenant, input_file=file, endpoint="/v1/completions", expires_at=timezone.now() + timedelta(hours=24),
        status="in_progress", model="tiny-coder", num_lines=9, num_completed=3, num_failed=1, note="Waiting: for a test.",
    )  # fmt: skip


@pytest.fixture
def batch(db: None) -> Batch:
    return batch_of("acme")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def answer(*arguments: str) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_it_lists_batches_of_all_tenants_or_of_one(batch: Batch) -> None:
    other = batch_of("rivals")
    assert [row["id"] for row in answer("batch", "list")] == [other.pk, batch.pk]
    (row,) = answer("batch", "list", "--tenant", "acme")
    assert (row["id"], row["status"], row["lines"], row["completed"], row["failed"]) == (
        batch.pk, "in_progress", 9, 3, 1,
    )  # fmt: skip
    assert len(answer("batch", "list", "--limit", "1")) == 1


def test_it_shows_what_a_batch_waits_for(batch: Batch) -> None:
    facts = answer("batch", "show", batch.pk)
    assert (facts["note"], facts["input_file"], facts["errors"]) == (batch.note, batch.input_file_id, [])
    assert batch.note in run("batch", "show", batch.pk).stdout


def test_it_cancels_once(batch: Batch) -> None:
    assert answer("batch", "cancel", batch.pk)["status"] == "cancelling"
    Batch.objects.filter(pk=batch.pk).update(status="cancelled")
    done = run("batch", "cancel", batch.pk)
    assert (done.exit_code, "can't be cancelled" in done.output) == (Exit.FAILED, True)


@pytest.mark.parametrize("command", ["show", "cancel"])
def test_an_unknown_batch_is_not_found(command: str) -> None:
    assert run("batch", command, "batch_0").exit_code == Exit.NOT_FOUND
