"""What the rows say for a support bundle: states, counts, digests, times.

No prompts, no contents, no names that tenants chose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max, Model, Sum

from appliance.audit.models import AuditEntry
from appliance.audit.record import record
from appliance.audit.stored import faults
from appliance.fleet.models import AttachedServer, Deployment, Device, DeviceOwner, EngineLife, Replica
from appliance.ledger.models import JournalCursor, LedgerEntry
from appliance.operations.models import AcceptanceRun, Upgrade, UpgradeStep
from appliance.registry.models import Adapter, EngineSlot, ModelVersion
from appliance.training.models import Job, StoredFile

NEWEST = 50
FAULTS_SHOWN = 20
TABLES = "SELECT relname, n_live_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables ORDER BY 3 DESC LIMIT 40"


@transaction.atomic
def record_bundle(target: str) -> None:
    """The act's entry."""
    record("support.bundle", target[:300])


def tenants_names() -> dict[str, str]:
    """What tenants called their things, and the id that stands for it in a bundle."""
    names = {file.filename: file.pk for file in StoredFile.objects.all()}
    names |= {job.suffix: f"[suffix of {job.pk}]" for job in Job.objects.exclude(suffix="")}
    names |= {adapter.name: f"[adapter {adapter.pk}]" for adapter in Adapter.objects.all()}
    return {name: shown for name, shown in names.items() if len(name) > 3}


def database() -> Mapping[str, Any]:
    """Version, sizes, migrations."""
    version, size = _rows("SELECT version(), pg_database_size(current_database())")[0]
    tables = [{"table": name, "rows_about": rows, "bytes": total} for name, rows, total in _rows(TABLES)]
    migrations = [f"{app}.{name}" for app, name in _rows("SELECT app, name FROM django_migrations ORDER BY id")]
    return {"version": version, "bytes": size, "tables": tables, "migrations": migrations}


def fleet() -> Mapping[str, Any]:
    """What should run, what runs, what ran lately, on what."""
    return {
        "models": _of(ModelVersion, "name", "preset", "path", "digest", "max_model_len", "fim", "created_at"),
        "slots": _of(EngineSlot, "name", "flavour", "engine_version", "path", "digest"),
        "deployments": _of(
            Deployment, "id", "name", "model__digest", "slot__name", "replicas", "devices_each", "profile",
            "max_model_len", "flags", "running", "serves", "created_at",
        ),
        "replicas": _of(
            Replica, "id", "deployment__name", "index", "state", "state_since", "reason", "devices", "restarts", "next_start_at"
        ),
        "lives": _of(
            EngineLife, "id", "model_name", "pid", "started_at", "ended_at", "end_reason", "prompt_tokens", "generation_tokens",
            "kv_usage", order="-started_at",
        ),
        "attached": _of(
            AttachedServer, "id", "name", "url", "served_model", "max_model_len", "priority", "cache_salt", "usage", "aborts",
            "state", "state_since", "reason",
        ),
        "devices": _of(Device, "id", "kind", "name", "memory_bytes", "memory_used_bytes", "healthy", "reason", "seen_at"),
        "owners": _of(DeviceOwner, "device_id", "replica_id", "job_id", "since", "expires_at"),
    }  # fmt: skip


def training() -> Mapping[str, Any]:
    """Fine-tunes, adapters and files by state; the newest fine-tunes without their names."""
    return {
        "files": _counted(StoredFile, "status"),
        "jobs": _counted(Job, "status"),
        "adapters": _counted(Adapter, "state"),
        "newest": _of(
            Job, "id", "tenant_id", "base__name", "status", "error__code", "failures", "fence", "lease_expires_at",
            "created_at", "started_at", "finished_at", order="-created_at",
        ),
    }  # fmt: skip


def operations() -> Mapping[str, Any]:
    """Upgrades with their steps, acceptance runs."""
    return {
        "upgrades": _of(
            Upgrade, "id", "name", "rollback", "digest", "strategy", "state", "reason", "created_at", "started_at",
            "finished_at", order="-created_at",
        ),
        "steps": _of(UpgradeStep, "upgrade_id", "index", "name", "state", "attempts", "reason", "finished_at", order="-id"),
        "acceptance": _of(
            AcceptanceRun, "id", "model_name", "started_at", "finished_at", "verdict", "reasons", "requests", "failed_requests",
            order="-started_at",
        ),
    }  # fmt: skip


def audit() -> Mapping[str, Any]:
    """Whether the log is whole, and the newest acts without what they were done to."""
    found = [{"kind": fault.kind.value, "seq": fault.seq} for fault in islice(faults(), FAULTS_SHOWN)]
    return {"whole": not found, "faults": found, "newest": _of(AuditEntry, "seq", "at", "action", order="-seq")}


def ledger() -> Mapping[str, Any]:
    """Counts and sums of all tenants together, and what waits in journals."""
    sums = LedgerEntry.objects.aggregate(
        rows=Count("*"), newest=Max("finished_at"), input=Sum("prompt_tokens"), output=Sum("completion_tokens")
    )
    journals = _of(JournalCursor, "name", "offset", "corrupt_lines")
    return {**sums, "outcomes": _counted(LedgerEntry, "outcome"), "journals": journals}


PARTS: Mapping[str, tuple[str, Callable[[], Mapping[str, Any]]]] = {
    "database.json": ("PostgreSQL: version, sizes, migrations", database),
    "fleet.json": ("models, deployments, replicas, engines' lives, devices", fleet),
    "training.json": ("fine-tunes, adapters and files by state", training),
    "operations.json": ("upgrades and acceptance runs", operations),
    "audit.json": ("whether the audit log is whole, and the newest acts", audit),
    "ledger.json": ("counts and sums of the ledger, journals", ledger),
}


def _of(model: type[Model], *fields: str, order: str = "pk") -> list[dict[str, Any]]:
    return list(model._default_manager.order_by(order).values(*fields)[:NEWEST])


def _counted(model: type[Model], field: str) -> dict[str, int]:
    counted = model._default_manager.order_by().values_list(field).annotate(number=Count("*"))
    return {str(value): int(count) for value, count in counted}


def _rows(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())
