"""`coderack conversations`: an operator acts for a tenant and reads with a reason, and the audit log has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.first_rows import ensure_base
from appliance.tenants.models import Tenant
from ops.cli.main import app
from ops.cli.printing import Exit
from tests.appliance.conversations.keeping import ANSWERED, kept

WHY = "--reason=asked for by kim"


@pytest.fixture(autouse=True)
def acme(db: None) -> Tenant:
    return Tenant.objects.create(id="acme", name="Acme", plan=ensure_base())


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["conversations", *words])


def told(*words: str) -> object:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_it_turns_on_reads_and_erases_and_the_audit_log_says_why(acme: Tenant, tmp_path: Path) -> None:
    assert told("status") == []
    on = told("on", "acme", WHY, "--days", "7")
    assert isinstance(on, dict)
    assert (on["kept"], on["days"], on["max_mib"]) == (True, 7, 1024)
    row = kept(acme)
    listed = told("list", "acme", WHY)
    assert isinstance(listed, list)
    assert [one["request_id"] for one in listed] == [row.pk]
    shown = told("show", "acme", row.pk, WHY)
    assert isinstance(shown, dict)
    assert shown["answers"][0]["text"] == ANSWERED
    target = tmp_path / "out.jsonl"
    assert run("export", "acme", WHY, "--to", str(target)).exit_code == 0
    assert json.loads(target.read_text())["request_id"] == row.pk
    assert target.stat().st_mode & 0o077 == 0
    assert run("export", "acme", WHY, "--to", str(target)).exit_code == Exit.USAGE
    assert json.loads(run("export", "acme", WHY).stdout)["request_id"] == row.pk
    off = told("off", "acme", WHY)
    assert isinstance(off, dict)
    assert not off["kept"]
    assert told("erase", "acme", WHY) == {"tenant": "acme", "erased": 1}
    entries = AuditEntry.objects.filter(action__startswith="conversations.").order_by("seq")
    acts = ["on", "list", "read", "export", "export", "off", "erase"]
    assert [entry.action for entry in entries] == [f"conversations.{act}" for act in acts]
    assert {entry.details["reason"] for entry in entries} == {"asked for by kim"}
    assert all(entry.actor.startswith("cli:") for entry in entries)


@pytest.mark.parametrize("words", [("list", "acme"), ("show", "acme", "req-1"), ("export", "acme"), ("on", "acme")])
def test_it_reads_nothing_without_a_reason(words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == Exit.USAGE
    if words[0] != "show":
        assert run(*words, "--reason", " ").exit_code == Exit.USAGE
    assert not AuditEntry.objects.filter(action__startswith="conversations.").exists()


def test_it_knows_no_tenant_or_conversation_that_is_not_there() -> None:
    assert run("on", "nobody", WHY).exit_code == Exit.NOT_FOUND
    assert run("show", "acme", "req-1", WHY).exit_code == Exit.NOT_FOUND
    assert run("erase", "acme", WHY).exit_code == Exit.NOT_FOUND
    assert run("on", "system", WHY).exit_code == Exit.USAGE
