"""Brings a backup's files into an empty data directory. What a killed restore left is marked, refused by `up`, and begun again.

Starting servers and putting rows right is left to the command.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

import psycopg

from finetune.files import sync_directory, write_json
from ops.backup import tools
from ops.backup.contents import CACHE, KEPT, MADE_AGAIN
from ops.backup.errors import BackupError, BadTarget, DatabaseTool
from ops.backup.manifest import DUMP, Manifest, Model
from ops.backup.space import CLUSTER_BYTES, DATABASE_GROWTH, require_space

MARK = "restore.begun"
GATEWAY_ROLE = "coderack_gateway"
USER_RELATIONS = (
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'v', 'S', 'm', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
)


def is_half_restored(data_dir: Path) -> bool:
    """Whether a restore into this data directory began and did not end."""
    return (data_dir / MARK).exists()


def require_known(manifest: Manifest, known_migrations: Collection[str]) -> None:
    """Raises: BackupError when a newer version made the backup: its tables are unknown here."""
    newer = sorted(set(manifest.facts.migrations) - set(known_migrations))
    if newer:
        raise BackupError(
            f"the backup is of Coderack {manifest.coderack}, whose tables are newer than this version's "
            f"({', '.join(newer[:3])}): install that version, restore with it"
        )


def begin(manifest: Manifest, data_dir: Path, cluster: Path | None) -> None:
    """Take an empty data directory, or one that a killed restore left, and mark it.

    Raises: BadTarget naming what is in it; NotEnoughSpace.
    """
    if is_half_restored(data_dir):
        _clear(data_dir, cluster)
    taken = [path.name for path in sorted(data_dir.iterdir()) if not _is_harmless(path)]
    taken += [str(cluster)] if cluster is not None and (cluster / "PG_VERSION").exists() else []
    if taken:
        raise BadTarget(
            f"{data_dir} is not empty ({', '.join(taken[:5])}): name another directory with --data-dir, or move these away"
        )
    database = CLUSTER_BYTES + DATABASE_GROWTH * manifest.facts.database_bytes if cluster is not None else 0
    require_space(data_dir, sum(file.size_bytes for file in manifest.files) + database, "the restored appliance")
    write_json(data_dir / MARK, {"backup": manifest.digest})


def finish(data_dir: Path) -> None:
    """Declare the data directory whole."""
    (data_dir / MARK).unlink()
    sync_directory(data_dir)


def fill_database(manifest: Manifest, folder: Path, dsn: str, embedded: bool) -> bool:
    """Fill an empty database from the dump; False when the gateway's role is not there and its rights are left out.

    Raises: BackupError when it is not empty or too old, DatabaseTool.
    """
    with psycopg.connect(dsn, connect_timeout=5, autocommit=True) as connection:
        has, needs = tools.major(connection.info.server_version), tools.major(manifest.facts.server_version)
        if has < needs:
            raise BackupError(f"the backup is of PostgreSQL {needs} and this server is version {has}: use a newer one")
        if tools.needs_newer_server(manifest.dump_version, connection.info.server_version):
            raise BackupError(
                f"the backup was dumped by pg_dump {manifest.dump_version}, and this server is version {has}: use one of "
                f"version {tools.SETS_TIMEOUT} or newer"
            )
        count = connection.execute(USER_RELATIONS).fetchone()
        if count is None or count[0]:
            raise BackupError(
                "the database is not empty: make a new one for the restored appliance and set DATABASE_URL to it"
            )
        below = tools.SETS_TIMEOUT if has < tools.SETS_TIMEOUT else None
        tool, _ = tools.find("pg_restore", embedded, max(has, manifest.dump_version), below)
        granted = _ensure_role(connection)
    try:
        tools.restore(tool, dsn, folder / DUMP, granted)
    except DatabaseTool as error:
        raise DatabaseTool(f"{error}\nNothing of the dump is in the database") from None
    return granted


def missing_models(manifest: Manifest, cache_dir: Path) -> list[Model]:
    """The models that rows speak of and that are not where they should be; weights come from bundles or downloads."""
    return [
        model
        for model in manifest.facts.models
        if not (moved(model.path, manifest, cache_dir) / "manifest.json").exists()
    ]


def moved(path: str, manifest: Manifest, cache_dir: Path) -> Path:
    """Where something of the old cache directory lies in the new one."""
    old = Path(manifest.cache_dir)
    return cache_dir / Path(path).relative_to(old) if Path(path).is_relative_to(old) else Path(path)


def _ensure_role(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    """Whether the gateway's role is there, made if that is allowed."""
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [GATEWAY_ROLE]).fetchone():
        return True
    try:
        connection.execute(f"CREATE ROLE {GATEWAY_ROLE} LOGIN")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _is_harmless(path: Path) -> bool:
    """What an empty appliance has: the cache's entries, logs, empty folders."""
    if path.name in CACHE | {"logs", MARK} or path.name.startswith("."):
        return True
    return path.is_dir() and not path.is_symlink() and not any(names for _, _, names in os.walk(path))


def _clear(data_dir: Path, cluster: Path | None) -> None:
    """Remove what a killed restore wrote, and nothing else: before it, there was nothing of this."""
    names = (KEPT.keys() | MADE_AGAIN.keys()) - {MARK, "logs"}
    for path in [data_dir / name for name in sorted(names)] + ([cluster] if cluster is not None else []):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
