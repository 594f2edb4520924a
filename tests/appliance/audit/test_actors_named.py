"""Whoever acts is named in the log: a person in the console, a key at the API, a log-in on the command line."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.audit.stored import faults
from appliance.registry.models import ModelVersion
from appliance.tenants.keys import mint
from appliance.tenants.models import User
from finetune.job import JobStatus
from ops.cli.main import app
from tests.appliance.audit.entries import only_new, seen, waiting
from tests.appliance.training.cast import BASE, Cast

LOGIN = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
S = JobStatus


def client(cast: Cast, person: str) -> Client:
    browser = Client()
    user = getattr(cast, person)
    user.is_superuser = user.is_staff
    user.save()
    browser.force_login(user)
    return browser


def test_the_console_names_the_person(cast: Cast) -> None:
    before = seen()
    client(cast, "owner").post("/tenants/acme/keys/", {"name": "ci", "days": "", "token": "t"})
    entry = only_new(before)
    assert (entry.action, entry.actor, entry.tenant_id) == ("key.create", "owner", "acme")
    client(cast, "operator").post("/tenants/new/", {"id": "new-team", "name": "New", "plan": cast.acme.plan.pk})
    client(cast, "operator").post("/tenants/new-team/policy/", {"adapter_policy": "approve"})
    told = AuditEntry.objects.filter(tenant_id="new-team").order_by("seq").values_list("action", "actor")
    assert list(told) == [("tenant.create", "operator"), ("tenant.set_policy", "operator")]
    assert mint(cast.acme, "after the request")[0]
    assert AuditEntry.objects.latest("seq").actor == "system"


def test_the_api_names_the_key_even_beside_somebodys_session(cast: Cast) -> None:
    key, secret = mint(cast.acme, "program")
    job = cast.job(S.QUEUED)
    before = seen()
    path = f"/v1/fine_tuning/jobs/{job.pk}/cancel"
    answer = client(cast, "operator").post(path, headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200, answer.content
    entry = only_new(before)
    assert (entry.action, entry.actor) == ("job.cancel", f"key:{key.prefix}")


@pytest.mark.parametrize(
    ("arguments", "action", "subject"),
    [
        (("plan", "create", "small"), "plan.create", "small"),
        (("plan", "set", "standard", "--max-files", "7"), "plan.change", "standard"),
        (("tenant", "create", "new"), "tenant.create", "new"),
        (("tenant", "set-policy", "acme", "approve"), "tenant.set_policy", "acme"),
        (("user", "create", "kim", "--operator"), "user.create", "kim"),
        (("model", "serve", BASE), "model.serve", BASE),
        (("model", "withdraw", BASE), "model.withdraw", BASE),
    ],
)  # fmt: skip
def test_the_command_line_names_the_login(
    cast: Cast, arguments: tuple[str, ...], action: str, subject: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")
    ModelVersion.objects.update(path=str(tmp_path))
    before = seen()
    done = CliRunner().invoke(app, list(arguments), env={"LOGNAME": "forged", "USER": "forged"})
    assert done.exit_code == 0, done.output
    entry = only_new(before)
    assert (entry.action, entry.subject, entry.actor) == (action, subject, LOGIN)


def test_an_approval_by_command_names_the_login_and_the_person(cast: Cast) -> None:
    adapter = waiting(cast)
    before = seen()
    done = CliRunner().invoke(app, ["adapter", "approve", adapter.name, "--by", "owner"])
    assert done.exit_code == 0, done.output
    assert (only_new(before).actor, only_new(before).details) == (LOGIN, {"person": "owner"})


def test_the_record_editor_is_in_the_log_with_fields_and_without_values(cast: Cast) -> None:
    browser, before = client(cast, "operator"), seen()
    fields = {
        "username": "kim",
        "password1": "a long secret 8",
        "password2": "a long secret 8",
        "usable_password": "true",
    }
    inline = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    assert browser.post("/admin/tenants/user/add/", fields | inline).status_code == 302
    kim = User.objects.get(username="kim")
    new = {"password1": "another secret 9", "password2": "another secret 9", "usable_password": "true"}
    assert browser.post(f"/admin/tenants/user/{kim.pk}/password/", new).status_code == 302
    assert browser.post(f"/admin/tenants/user/{kim.pk}/delete/", {"post": "yes"}).status_code == 302
    entries = AuditEntry.objects.filter(seq__gt=before).order_by("seq")
    assert [(row.action, row.subject, row.actor) for row in entries] == [
        ("user.create", "kim", "operator"), ("user.change", "kim", "operator"), ("user.delete", "kim", "operator"),
    ]  # fmt: skip
    assert "secret" not in json.dumps([row.details for row in entries])
    ticked: dict[str, Any] = {"action": "delete_selected", "_selected_action": [cast.stranger.pk], "post": "yes"}
    assert browser.post("/admin/tenants/user/", ticked).status_code == 302
    assert (AuditEntry.objects.latest("seq").action, AuditEntry.objects.latest("seq").subject) == (
        "user.delete",
        "stranger",
    )
    assert list(faults()) == []
