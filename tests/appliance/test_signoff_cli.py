"""`coderack data report`, `signoff`, `revoke-signoff` and `coderack tenant set-signoff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from appliance.first_rows import ensure_base
from appliance.tenants.models import Tenant, User
from appliance.training.models import Job, StoredFile
from ops.cli.main import app
from ops.cli.printing import Exit
from tests.appliance.console import tuning


@pytest.fixture
def file(db: None, tmp_path: Path) -> StoredFile:
    tenant = Tenant.objects.create(id="acme", name="Acme", plan=ensure_base())
    User.objects.create(username="olga", is_staff=True)
    User.objects.create(username="dave")
    found = tuning.upload(tenant)
    tuning.clean(found, tmp_path)
    return found


def answer(*arguments: str) -> Any:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def failed(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, " ".join(done.output.split())


def test_it_shows_the_report_signs_it_and_takes_that_back(file: StoredFile) -> None:
    shown = answer("data", "report", file.pk)
    assert shown["signoff"] is None
    assert shown["residual"][0]["why"] == "looks random"
    assert shown["replacements"]["aws-access-key"]["replacements"] == 9
    digest = shown["report_digest"]
    signed = answer("data", "signoff", file.pk, "--by", "olga", "--digest", digest, "--comment", "read it")
    assert (signed["signoff"]["by"], signed["signoff"]["comment"]) == ("olga", "read it")
    assert answer("data", "report", file.pk)["signoff"] == signed["signoff"]
    assert answer("data", "revoke-signoff", file.pk, "--by", "olga")["signoff"] is None


def test_it_refuses_who_may_not_and_a_report_that_is_another_one(file: StoredFile) -> None:
    digest = answer("data", "report", file.pk)["report_digest"]
    code, said = failed("data", "signoff", file.pk, "--by", "dave", "--digest", digest)
    assert code == Exit.FAILED
    assert "Only operators" in said
    assert "read it again" in failed("data", "signoff", file.pk, "--by", "olga", "--digest", "0" * 64)[1]
    assert failed("data", "signoff", file.pk, "--by", "nobody", "--digest", digest)[0] == Exit.NOT_FOUND
    assert failed("data", "report", "file-unknown")[0] == Exit.NOT_FOUND
    assert "is not signed off" in failed("data", "revoke-signoff", file.pk, "--by", "olga")[1]


def test_a_tenants_rule_is_set_and_a_fine_tune_says_what_it_waits_for(file: StoredFile) -> None:
    assert answer("tenant", "list")[0]["signoff"] == "optional"
    assert answer("tenant", "set-signoff", "acme", "required")["signoff"] == "required"
    job = tuning.start(file.tenant, training_file=file, status="queued")
    assert answer("job", "show", job.pk)["waits_for_signoff"] == [file.pk]
    assert answer("tenant", "set-signoff", "acme", "optional")["signoff"] == "optional"
    assert answer("job", "show", Job.objects.get().pk)["waits_for_signoff"] == []
    assert failed("tenant", "set-signoff", "nobody", "required")[0] == Exit.NOT_FOUND
