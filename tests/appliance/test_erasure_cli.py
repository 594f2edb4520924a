"""`coderack data erase`, `erasures`, `certificate`: what they show, wait for, refuse, and that the proof can be checked."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from django.conf import settings
from django.utils import timezone
from typer.testing import CliRunner

from appliance.first_rows import ensure_base
from appliance.tenants.models import Tenant
from appliance.training.models import Job, StoredFile
from ops.cli.main import app
from ops.cli.printing import Exit
from tests.appliance.console import tuning


@pytest.fixture
def tenant(db: None) -> Tenant:
    return Tenant.objects.create(id="acme", name="Acme", plan=ensure_base())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def answer(*arguments: str, code: int = 0) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_a_dry_run_shows_what_a_file_led_to_and_does_nothing(tenant: Tenant) -> None:
    file = tuning.upload(tenant)
    adapter = tuning.finish(tuning.start(tenant, training_file=file), state="active")
    told = answer("data", "erase", file.pk, "--dry-run")
    assert {(one["kind"], one["act"]) for one in told["leads_to"] if one["name"] == adapter.name} == {
        ("adapter", "withdraw and remove")
    }
    assert adapter.name.rpartition(":")[2] in run("data", "erase", file.pk, "--dry-run").stdout
    assert StoredFile.objects.get(pk=file.pk).deleted_at is None
    assert answer("data", "erasures") == []


def test_it_erases_and_the_certificate_can_be_taken_along_and_checked(tenant: Tenant, tmp_path: Path) -> None:
    file = tuning.upload(tenant)
    tuning.finish(tuning.start(tenant, training_file=file), state="active")
    facts = answer("data", "erase", file.pk)
    assert (facts["state"], facts["waits_for"]) == ("done", None)
    assert facts["by"].startswith("cli:")
    assert [row["file"] for row in answer("data", "erasures", "--tenant", "acme")] == [file.pk]
    to = tmp_path / "proof"
    told = answer("data", "certificate", file.pk, "--to", str(to))
    assert told["certificate_sha256"] == facts["certificate_sha256"]
    assert {path.name for path in to.iterdir()} == {"certificate.json", "certificate.html", "signature.json"}
    check = (
        "acceptance",
        "verify",
        str(to),
        "--key",
        str(settings.ENV.data_dir / "acceptance" / "keys" / "public.pem"),
    )
    held = run(*check)
    assert held.exit_code == 0, held.output
    assert f"erasure {facts['id']} of {file.pk}" in held.stdout
    assert answer(*check)["ok"] is True
    (to / "certificate.json").write_bytes((to / "certificate.json").read_bytes().replace(b"acme", b"acne"))
    assert "certificate.json: was changed" in str(answer(*check, code=Exit.FAILED))
    assert run("data", "certificate", file.pk, "--to", str(to)).exit_code == Exit.USAGE


def test_it_says_what_it_waits_for_and_another_call_goes_on(tenant: Tenant, tmp_path: Path) -> None:
    job = tuning.start(tenant, lease_expires_at=timezone.now() + timedelta(hours=1))
    facts = answer("data", "erase", job.training_file_id, "--wait", "0", code=Exit.FAILED)
    assert (facts["state"], facts["folder"]) == ("waiting", None)
    assert job.pk in facts["waits_for"]
    none = run("data", "certificate", job.training_file_id, "--to", str(tmp_path / "proof"))
    assert none.exit_code == Exit.FAILED
    assert "not done yet" in none.output
    Job.objects.update(lease_expires_at=None)
    assert answer("data", "erase", job.training_file_id)["state"] == "done"


def test_it_refuses_what_is_not_there_and_a_batchs_file(tenant: Tenant, tmp_path: Path) -> None:
    assert run("data", "erase", "file-none").exit_code == Exit.NOT_FOUND
    assert run("data", "certificate", tuning.upload(tenant).pk, "--to", str(tmp_path / "p")).exit_code == Exit.NOT_FOUND
    assert run("data", "erase", tuning.upload(tenant, purpose="batch").pk).exit_code == Exit.USAGE
