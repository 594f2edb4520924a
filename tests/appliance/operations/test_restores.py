"""`coderack restore` into a data directory and a PostgreSQL cluster of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from appliance.audit.models import AuditEntry
from appliance.env import REPO
from appliance.fleet.models import DeviceOwner, EngineLife, Replica
from appliance.operations import backups
from appliance.operations.models import Upgrade, UpgradeState
from finetune.job import JobStatus
from inference.metering.journal import JournalWriter
from ops.backup import manifest as manifests
from ops.cli.printing import Exit
from tests.appliance.operations.backup_box import Box, Copy, Server, backup, box, copy, usage
from tests.appliance.training.cast import ROWS
from tests.appliance.training.conftest import cast, files_dir

__all__ = ["box", "cast", "copy", "files_dir"]


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
