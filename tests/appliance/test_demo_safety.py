"""The demo's safety net without an appliance: what its checker finds in a backup, a bundle and a chain that lie."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.tenants.keys import mint, revoke
from appliance.tenants.models import Plan, Tenant
from appliance.training import files
from ops.cli.demo.cast import NORTH
from ops.cli.demo.safety import Copy
from ops.cli.demo_check import safety
from ops.cli.demo_check.evidence import Evidence
from ops.cli.main import app
from tests.appliance.audit.conftest import forge
from tests.appliance.training.cast import ROWS
from tests.appliance.training.conftest import files_dir

__all__ = ["files_dir", "forge"]


@pytest.fixture
def evidence(db: None) -> Iterator[Evidence]:
    name = settings.DATABASES["default"]["NAME"]
    with psycopg.connect(settings.ENV.database_dsn().replace("/coderack?", f"/{name}?"), autocommit=True) as connection:
        yield Evidence(connection, Path(settings.ENV.data_dir))


@pytest.fixture
def backup(files_dir: Path, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A real backup, and what the walk says of it."""
    tenant = Tenant.objects.create(id=NORTH, name="North", plan=Plan.objects.create(name=NORTH))
    revoke(mint(tenant, "revoked")[0])
    files.store(tenant, None, "fine-tune", "rows.jsonl", [ROWS])
    done = CliRunner().invoke(app, ["backup", str(tmp_path / "b"), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    return told, {"path": told["path"], "digest": told["digest"], "taken_at": told["taken_at"], "entry": told["audit"]}


def test_a_true_backup_has_no_faults_and_a_changed_file_has_one(
    backup: tuple[dict[str, Any], dict[str, Any]], evidence: Evidence
) -> None:
    measured, shown = backup
    assert list(safety.backed_up(measured, shown, evidence)) == []
    path = next((Path(shown["path"]) / "data" / "files" / NORTH).iterdir())
    path.write_bytes(b"other rows")
    assert [fault for fault in safety.backed_up(measured, shown, evidence) if "was changed" in fault]
    path.unlink()
    assert [fault for fault in safety.backed_up(measured, shown, evidence) if "files and manifest differ" in fault]


def test_another_manifest_or_entry_is_found(backup: tuple[dict[str, Any], dict[str, Any]], evidence: Evidence) -> None:
    measured, shown = backup
    (other,) = safety.backed_up(measured, shown | {"digest": "0" * 64}, evidence)
    assert "the manifest's digest is" in other
    (not_its_own,) = safety.backed_up(measured, shown | {"entry": {"seq": 1}}, evidence)
    assert "is not the backup's" in not_its_own


def test_a_copy_that_is_still_there_or_counts_otherwise_is_found(evidence: Evidence, tmp_path: Path) -> None:
    measured = {
        "ledger": {"rows": 3}, "key_status": 200, "revoked_status": 200, "audit_whole": True,
        "edited_entry_says": "all is well",
    }  # fmt: skip
    shown = {
        "taken_at": "2026-01-01T00:00:00+00:00", "files": ["file-1"], "key": "k", "revoked": "r", "copy": str(tmp_path),
        "run_dir": str(tmp_path / "none"),
    }  # fmt: skip
    faults = " | ".join(safety.restored(measured, shown, evidence))
    for words in (
        "the ledger up to",
        "other files",
        "did not work",
        "was not revoked",
        "200 and 200",
        "all is well",
        "still there",
    ):
        assert words in faults


def test_a_support_bundle_with_a_key_in_it_is_found(evidence: Evidence, tmp_path: Path) -> None:
    path = tmp_path / "s.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        text = b"it was sk-cr-" + b"a1b2c3d4" * 4
        member = tarfile.TarInfo("coderack-support/logs/gateway.log")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    path.chmod(0o644)
    faults = list(
        safety.bundled({"parts": 1}, {"path": str(path), "parts": ["coderack-support/logs/gateway.log"]}, evidence)
    )
    assert "coderack-support/logs/gateway.log holds a secret" in faults
    assert "others can read the support bundle" in faults
    assert "it has no README.txt" in faults


def test_the_checker_hashes_the_chain_as_the_log_does(evidence: Evidence, forge: Any) -> None:
    tenant = Tenant.objects.create(id="acme", name="Ácme 织", plan=Plan.objects.create(name="p"))
    revoke(mint(tenant, "ключ")[0])
    newest = AuditEntry.objects.latest("seq")
    head = {"seq": newest.seq, "hash": newest.hash}
    assert list(safety.audited({"entries": newest.seq}, {"head": head}, evidence)) == []
    assert list(safety.audited({"entries": newest.seq}, {"head": head | {"hash": "0" * 64}}, evidence))
    forge("UPDATE audit_auditentry SET subject = 'x' WHERE seq = 1")
    assert list(safety.audited({"entries": newest.seq}, {"head": head}, evidence)) == [
        "entry 1 does not follow entry 0"
    ]


def test_a_copy_has_nothing_of_the_originals_settings_but_its_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@nowhere/x")
    monkeypatch.setenv("CODERACK_RUN_DIR", "/tmp/of-the-original")
    monkeypatch.setenv("CODERACK_HOST", "not an address")
    copy = Copy(settings.ENV, 1)
    done = copy.coderack("status", "--json")
    assert json.loads(done.stdout)["running"] is False, done.stderr
    assert copy.run_dir != settings.ENV.run_dir
