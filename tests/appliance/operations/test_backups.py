"""`coderack backup` of rows and files, and `coderack restore` into a data directory and a PostgreSQL cluster of its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from django.conf import settings
from django.utils import timezone
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.env import REPO, default_run_dir
from appliance.fleet.models import DeviceOwner, EngineLife, Replica
from appliance.ledger.meter import entry
from appliance.ledger.models import LedgerEntry
from appliance.operations import backups
from appliance.operations.models import Upgrade, UpgradeState
from appliance.training import files
from appliance.training.models import Dataset, StoredFile
from finetune.job import JobStatus
from inference.metering.journal import JournalWriter, UsageRecord
from ops.backup import manifest as manifests
from ops.backup.copying import begin
from ops.cli.main import app
from ops.cli.printing import Exit
from ops.embedded import postgres
from tests.appliance.training.cast import ROWS, Cast
from tests.appliance.training.conftest import cast, files_dir

__all__ = ["cast", "files_dir"]
ENTRIES = ("journal", "jobs", "trust", "secret_key", "planted_secret", ".backup.lock")


def usage(number: int, tenant: str = "acme") -> UsageRecord:
    now = time.time()
    return UsageRecord(
        request_id=f"request-{number}", tenant_id=tenant, key_id=None, model="smollm2", endpoint="chat", stream=True,
        life_id=None, replica_id=None, started_at=now, finished_at=now, prompt_tokens=100 + number, cached_tokens=number,
        completion_tokens=10 + number, engine_prompt_tokens=100, outcome="completed", http_status=200, ttft_ms=5, exact=True,
    )  # fmt: skip


@dataclass
class Box:
    """The appliance that is backed up: rows, files, and where a backup of it goes."""

    cast: Cast
    data_dir: Path
    target: Path
    file: StoredFile
    adapter_path: Path


@pytest.fixture
def box(cast: Cast, files_dir: Path, tmp_path: Path) -> Iterator[Box]:
    data_dir = Path(settings.ENV.data_dir)
    (data_dir / "secret_key").write_text("a-secret-key-of-the-data-directory")
    (data_dir / "planted_secret").write_text("ab" * 32)
    (data_dir / "trust").mkdir()
    (data_dir / "trust" / "seen.json").write_text("{}")
    adapter_path = data_dir / "jobs" / "ftjob-1" / "attempts" / "1" / "adapter"
    adapter_path.mkdir(parents=True)
    (adapter_path / "manifest.json").write_text("{}")
    cast.adapter(path=str(adapter_path))
    file = files.store(cast.acme, cast.key, "fine-tune", "rows.jsonl", [ROWS])
    dataset = files.dataset_dir(file)
    dataset.mkdir(parents=True)
    (dataset / "manifest.json").write_text("{}")
    Dataset.objects.create(file=file, kind="chat", path=str(dataset), digest="d", rows=3, report={})
    for number in range(5):
        entry(usage(number)).save(force_insert=True)
    yield Box(cast, data_dir, tmp_path / "backup", file, adapter_path)
    for name in ENTRIES:
        path = data_dir / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def backup(box: Box) -> dict[str, Any]:
    done = run("backup", str(box.target), "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


@dataclass
class Copy:
    """A data directory for the restored appliance, short and open enough for its embedded PostgreSQL."""

    data_dir: Path

    def coderack(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command as an operator of the copy does."""
        return subprocess.run(
            self.argv(*arguments),
            cwd=REPO,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "ops.cli.main", *arguments]

    def environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("CODERACK_", "DJANGO_"))}
        cache = {"CODERACK_CACHE_DIR": str(self.data_dir.parent / "cache")}
        return ours | cache | {"CODERACK_DATA_DIR": str(self.data_dir)}

    def restore(self, source: Path, *options: str) -> dict[str, Any]:
        done = self.coderack("restore", str(source), "--json", *options)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


@pytest.fixture
def copy() -> Iterator[Copy]:
    root = Path(tempfile.mkdtemp(prefix="coderack-test-", dir="/tmp"))
    root.chmod(0o755)
    yield Copy(root / "d")
    shutil.rmtree(root)
    shutil.rmtree(default_run_dir(root / "d"), ignore_errors=True)


class Server:
    """The restored cluster, running for a block."""

    def __init__(self, copy: Copy) -> None:
        run_dir = default_run_dir(copy.data_dir)
        self.cluster = postgres.place(copy.data_dir, run_dir / "pg")
        self.dsn = f"postgresql://coderack@/coderack?host={run_dir / 'pg'}"

    def __enter__(self) -> psycopg.Connection[Any]:
        groups: list[int] | None = None if self.cluster.user is None else []
        self.process = subprocess.Popen(
            self.cluster.argv(), cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=self.cluster.user,
            group=self.cluster.group, extra_groups=groups,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while not postgres.answers(self.dsn):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.connection = psycopg.connect(self.dsn, autocommit=True)
        return self.connection

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)


def test_a_restored_appliance_has_the_rows_files_and_log_of_the_backup(box: Box, copy: Copy) -> None:
    writer = JournalWriter(box.data_dir / "journal", "gateway-0")
    writer.append(usage(100))
    held = Replica.objects.create(deployment=box.cast.deployment, index=0, state="ready", devices=["cpu0"])
    held.life = EngineLife.objects.create(
        replica=held,
        model_name="smollm2",
        pid=os.getpid(),
        pid_started=1,
        socket="s",
        log="l",
        started_at=timezone.now(),
    )
    held.save()
    DeviceOwner.objects.create(device_id="cpu0", replica=held)
    job = box.cast.job(JobStatus.RUNNING, training_file=box.file, lease_holder="x", lease_expires_at=timezone.now())
    try:
        told = backup(box)
    finally:
        writer.close()
    assert (told["notes"], told["ledger"]["rows"]) == (
        ["CODERACK_SECRET_KEY comes from the environment and is not in the backup: keep it yourself"],
        5,
    )

    restored = copy.restore(box.target)
    assert restored["audit_whole"] is True
    assert [model["name"] for model in restored["missing_models"]] == ["smollm2"]
    assert (copy.data_dir / "files/acme" / box.file.sha256).read_bytes() == ROWS
    for name in ("secret_key", "planted_secret", "trust/seen.json", "jobs/ftjob-1/attempts/1/adapter/manifest.json"):
        assert (copy.data_dir / name).read_bytes() == (box.data_dir / name).read_bytes()
    assert [path.stat().st_size > 0 for path in (copy.data_dir / "journal").iterdir()] == [True], (
        "what is not billed yet"
    )
    with Server(copy) as connection:
        rows = dict(connection.execute("SELECT digest, revoked_at FROM tenants_apikey").fetchall())
        assert rows[box.cast.key.digest] is None
        sums = connection.execute("SELECT count(*), sum(prompt_tokens), sum(completion_tokens) FROM ledger_ledgerentry")
        assert sums.fetchone() == (5, 510, 60)
        paths = connection.execute(
            "SELECT path FROM training_dataset UNION ALL SELECT path FROM registry_adapter"
        ).fetchall()
        assert [path.startswith(f"{copy.data_dir}/") for (path,) in paths] == [True, True]
        assert connection.execute("SELECT end_reason FROM fleet_enginelife").fetchall() == [(backups.RESTORED,)]
        for table in ("fleet_replica", "fleet_deviceowner"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        assert connection.execute("SELECT lease_expires_at FROM training_job WHERE id = %s", [job.pk]).fetchone() == (
            None,
        )
        newest = connection.execute("SELECT action, seq FROM audit_auditentry ORDER BY seq DESC LIMIT 2").fetchall()
        assert newest == [("backup.restore", told["audit"]["seq"] + 1), ("backup.create", told["audit"]["seq"])]
        assert connection.execute("SELECT running FROM fleet_deployment").fetchone() == (True,)
        verified = copy.coderack("audit", "verify")
        assert verified.returncode == 0, verified.stderr
        connection.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER audit_append_only")
        connection.execute("UPDATE audit_auditentry SET actor = 'nobody' WHERE seq = 1")
        edited = copy.coderack("audit", "verify")
        assert (edited.returncode, "entry 1 was edited" in edited.stderr) == (Exit.FAILED, True)


def test_a_flipped_byte_is_refused_and_nothing_is_written(box: Box, copy: Copy) -> None:
    backup(box)
    path = box.target / "database.dump"
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    done = copy.coderack("restore", str(box.target))
    assert (done.returncode, "database.dump: changed" in done.stderr) == (Exit.FAILED, True)
    assert not (copy.data_dir / "pgdata").exists()


def test_a_data_directory_that_holds_something_is_refused(box: Box, copy: Copy) -> None:
    backup(box)
    (copy.data_dir / "jobs").mkdir(parents=True)
    (copy.data_dir / "jobs" / "one").write_text("work of years")
    done = copy.coderack("restore", str(box.target))
    assert (done.returncode, "not empty (jobs)" in done.stderr) == (Exit.FAILED, True)
    assert (copy.data_dir / "jobs" / "one").read_text() == "work of years"


def test_a_killed_restore_is_not_started_and_begins_again(box: Box, copy: Copy) -> None:
    backup(box)
    process = subprocess.Popen(
        copy.argv("restore", str(box.target)), cwd=REPO, env=copy.environment(), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (copy.data_dir / "pgdata" / "postmaster.pid").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()  # its PostgreSQL goes on
    process.wait()
    started = copy.coderack("up")
    assert (started.returncode, "half-restored" in started.stderr) == (Exit.FAILED, True)
    assert copy.restore(box.target, "--idle")["audit_whole"] is True
    assert not (copy.data_dir / "restore.begun").exists()
    with Server(copy) as connection:
        assert connection.execute("SELECT running FROM fleet_deployment").fetchone() == (False,), (
            "idle: served by nobody"
        )


def test_a_backup_of_a_newer_version_is_refused_before_the_database_is_filled(box: Box, copy: Copy) -> None:
    backup(box)
    manifest = box.target / "manifest.json"
    content = json.loads(manifest.read_text())
    content["facts"]["migrations"].append("tenants.9999_later")
    manifest.write_text(json.dumps(content))
    done = copy.coderack("restore", str(box.target))
    assert (done.returncode, "tenants.9999_later" in done.stderr) == (Exit.FAILED, True)
    assert not (copy.data_dir / "pgdata").exists()


def test_a_trial_serves_nothing_though_an_upgrade_was_at_work(box: Box) -> None:
    deployment = box.cast.deployment
    Upgrade.objects.create(
        name=deployment.name, digest="d", strategy="rolling", state=UpgradeState.RUNNING, from_model=deployment.model
    )
    backup(box)
    backups.settle(manifests.read(box.target), box.data_dir, Path(settings.ENV.cache_dir), idle=True)
    deployment.refresh_from_db()
    assert deployment.running is False
    assert AuditEntry.objects.filter(action="model.withdraw", subject=deployment.name).count() == 1


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
