"""The rows' side of backups: one snapshot for the dump, and rows put right on the machine they were restored to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection, models, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models import QuerySet, Sum, Value
from django.db.models.functions import Concat, Substr
from django.utils import timezone
from psycopg.conninfo import make_conninfo

from appliance.audit.models import AuditEntry
from appliance.audit.record import Detail, record
from appliance.fleet.merged import forget_merged_models
from appliance.fleet.models import AttachedServer, Deployment, Device, DeviceOwner, EngineLife, Replica
from appliance.ledger.models import LedgerEntry
from appliance.operations.models import AcceptanceRun
from appliance.registry.models import Adapter, AdapterState, EngineSlot, ModelVersion
from appliance.training import files
from appliance.training.models import Checkpoint, Dataset, Job, StoredFile
from ops.backup.make import Snapshot
from ops.backup.manifest import Facts, Head, Ledger, Manifest
from ops.backup.manifest import Model as KnownModel

RESTORED = "restored from a backup"
# Columns with a path in the data directory, and in the cache directory.
OF_DATA: tuple[tuple[type[models.Model], str], ...] = (
    (Dataset, "path"),
    (Checkpoint, "path"),
    (Adapter, "path"),
    (AcceptanceRun, "folder"),
)
OF_CACHE: tuple[tuple[type[models.Model], str], ...] = ((ModelVersion, "path"), (EngineSlot, "path"))
IN_USE = (AdapterState.CANDIDATE, AdapterState.WAITING, AdapterState.ACTIVE)


@transaction.atomic
def record_backup(target: Path) -> None:
    """The act's entry, before it is done: it is then in the backup, too."""
    record("backup.create", str(target)[:300])


@contextmanager
def snapshot() -> Iterator[Snapshot]:
    """The database at one moment, for as long as the block lasts; nothing can be written in it."""
    with transaction.atomic():
        _value("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield Snapshot(_dsn(), str(_value("SELECT pg_export_snapshot()")), _facts(), tuple(_expected()))


def known_migrations() -> set[str]:
    """Every migration of this version."""
    return {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}


def settle(manifest: Manifest, data_dir: Path, cache_dir: Path, idle: bool) -> None:
    """Put restored rows right: paths lead to this machine's directories, and nothing of what ran there is believed.

    Processes of the old appliance may still run on this very machine, so that no engine of its may be adopted or ended.
    """
    with transaction.atomic():
        for model, field in OF_DATA:
            _move(model._default_manager.all(), field, manifest.data_dir, data_dir)
        for model, field in OF_CACHE:
            _move(model._default_manager.all(), field, manifest.cache_dir, cache_dir)
        _forget_what_ran()
        if idle:
            _withdraw_all()
        details: dict[str, Detail] = {
            "taken_at": manifest.facts.taken_at,
            "digest": manifest.digest,
            "last_entry": manifest.facts.audit.seq,
        }
        record("backup.restore", str(data_dir)[:300], details=details)


def _withdraw_all() -> None:
    """Have nothing served, an upgrade that was at work included: it is not at work here."""
    running = Deployment.objects.filter(running=True)
    names = sorted(set(running.values_list("name", flat=True)))
    running.update(running=False)
    for name in names:
        record("model.withdraw", name)


def _move(rows: QuerySet[Any], field: str, old: str, new: Path) -> None:
    """Rewrite the beginning of paths that lie in the old directory."""
    if old != str(new):
        rest = Substr(field, len(old) + 1)
        rows.filter(**{f"{field}__startswith": f"{old}/"}).update(**{field: Concat(Value(str(new)), rest)})


def _forget_what_ran() -> None:
    over = {"ended_at": timezone.now(), "end_reason": RESTORED, "requests_running": 0, "requests_waiting": 0}
    EngineLife.objects.filter(ended_at=None).update(**over)
    AttachedServer.objects.update(life=None, state="starting", base_prompt_tokens=None, base_generation_tokens=None)
    for rows in (DeviceOwner, Replica, Device, Session):
        rows._default_manager.all().delete()
    forget_merged_models()
    Job.objects.exclude(lease_expires_at=None).update(lease_expires_at=None, lease_holder="")


def _facts() -> Facts:
    newest = AuditEntry.objects.order_by("-seq").first()
    sums = LedgerEntry.objects.aggregate(
        *(Sum(name) for name in ("prompt_tokens", "cached_tokens", "completion_tokens"))
    )
    return Facts(
        taken_at=timezone.now().astimezone(UTC).isoformat(),
        server_version=int(_value("SHOW server_version_num")),
        database_bytes=int(_value("SELECT pg_database_size(current_database())")),
        migrations=tuple(_migrations()),
        models=tuple(
            KnownModel(*row) for row in ModelVersion.objects.order_by("name").values_list("name", "digest", "path")
        ),
        ledger=Ledger(LedgerEntry.objects.count(), *(int(value or 0) for value in sums.values())),
        audit=Head(newest.seq, newest.hash) if newest else Head(0, ""),
    )


def _expected() -> Iterator[Path]:
    """The files without which a row would be a promise."""
    yield from {files.path(row) for row in StoredFile.objects.filter(deleted_at=None)}
    yield from (Path(path, "manifest.json") for path in Dataset.objects.values_list("path", flat=True))
    yield from (
        Path(path, "manifest.json") for path in Adapter.objects.filter(state__in=IN_USE).values_list("path", flat=True)
    )


def _dsn() -> str:
    """How this very database is reached, in the operator's own words: psycopg's own list has options that an older pg_dump
    does not know."""
    return make_conninfo(settings.ENV.database_dsn(), dbname=connection.settings_dict["NAME"])


def _migrations() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT app || '.' || name FROM django_migrations ORDER BY 1")
        return [str(row[0]) for row in cursor.fetchall()]


def _value(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None
