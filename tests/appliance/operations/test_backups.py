"""`coderack backup` of rows and files: what is in it, and when it is refused."""

from __future__ import annotations

import fcntl
import shutil
from datetime import UTC, datetime

import psycopg
import pytest
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

from appliance.audit.models import AuditEntry
from appliance.ledger.models import LedgerEntry
from appliance.operations import backups
from appliance.training import files
from ops.backup.copying import begin
from ops.cli.printing import Exit
from tests.appliance.operations.backup_box import Box, backup, box, copy, run
from tests.appliance.training.conftest import cast, files_dir

__all__ = ["box", "cast", "copy", "files_dir"]


def test_a_journal_that_the_meter_removes_meanwhile_stops_no_backup(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = box.data_dir / "journal" / "gateway-0-1-1.jsonl"
    monkeypatch.setattr("ops.backup.make._journals", lambda _: [gone])
    backup(box)
    assert not (box.target / "data" / "journal").exists()


def test_a_tenants_files_are_in_it_whatever_it_is_called(box: Box) -> None:
    home = box.data_dir / "files" / "home"
    home.mkdir(parents=True)
    (home / "ab12").write_text("rows")
    try:
        backup(box)
    finally:
        shutil.rmtree(home)
    assert (box.target / "data/files/home/ab12").read_text() == "rows"


def test_a_target_that_holds_something_is_refused_without_an_entry(box: Box) -> None:
    box.target.mkdir()
    (box.target / "x").write_text("")
    done = run("backup", str(box.target))
    assert (done.exit_code, "there already" in done.stderr) == (Exit.FAILED, True)
    assert not AuditEntry.objects.filter(action="backup.create").exists()


@pytest.mark.parametrize("inside", [".", "jobs/b", "files/acme/b"])
def test_a_backup_is_not_written_into_what_it_copies(box: Box, inside: str) -> None:
    done = run("backup", str(box.data_dir / inside))
    assert (done.exit_code, "elsewhere" in done.stderr) == (Exit.FAILED, True)


def test_two_backups_at_once_are_one_too_many(box: Box) -> None:
    with (box.data_dir / ".backup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run("backup", str(box.target))
    assert (done.exit_code, "being made" in done.stderr) == (Exit.FAILED, True)


def test_a_failed_backup_leaves_nothing(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.backup.tools.wheel_bin_dir", lambda: box.data_dir)
    done = run("backup", str(box.target))
    assert (done.exit_code, "postgresql-client" in done.stderr) == (Exit.FAILED, True)
    assert not list(box.target.parent.glob("backup*"))


def test_what_a_killed_backup_left_goes_with_the_next(box: Box) -> None:
    (begin(box.target) / "database.dump").write_text("half")
    backup(box)
    assert [path.name for path in sorted(box.target.parent.iterdir())] == ["backup"]
    assert (box.target / "database.dump").read_bytes().startswith(b"PGDMP")


def test_a_file_that_a_row_speaks_of_and_nobody_has_is_told(box: Box) -> None:
    files.path(box.file).unlink()
    (box.data_dir / "unheard-of").mkdir()
    try:
        notes = backup(box)["notes"]
    finally:
        (box.data_dir / "unheard-of").rmdir()
    assert [note for note in notes if box.file.sha256 in note and "is not there" in note]
    assert [note for note in notes if note.startswith("unheard-of ")]


def test_an_older_pg_dump_is_told_only_what_the_operator_wrote(box: Box) -> None:
    with backups.snapshot() as taken:
        words = conninfo_to_dict(taken.dsn)
    assert words.keys() <= {"host", "port", "user", "password", "dbname"}
    assert words["dbname"] == settings.DATABASES["default"]["NAME"]


def test_the_dump_and_the_facts_are_of_one_moment(box: Box) -> None:
    with backups.snapshot() as taken:
        with psycopg.connect(
            settings.ENV.database_dsn().replace("/coderack?", f"/{settings.DATABASES['default']['NAME']}?")
        ) as other:
            other.execute("DELETE FROM ledger_ledgerentry")
            other.commit()
        assert (taken.facts.ledger.rows, LedgerEntry.objects.count()) == (5, 5)
        assert datetime.fromisoformat(taken.facts.taken_at).tzinfo == UTC
    assert LedgerEntry.objects.count() == 0
