"""Keeps the directory fresh: loads the SQL views, listens for changes, polls the generation, reconnects with back-off.

Only the database side is here; what the snapshot means is `directory`'s.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from inference.gateway import metrics
from inference.gateway.attached import Attached
from inference.gateway.directory import Alias, Allowance, Canary, Directory, Key, Model, Replica, Snapshot
from inference.gateway.limits.gates import Limits, Prices

log = logging.getLogger(__name__)

CHANNEL = "coderack_directory"
POLL_S = 5.0
ANSWER_S = 5.0  # a database that takes longer to answer is treated as gone
MAX_BACKOFF_S = 2.0

KEYS_SQL = (
    "SELECT digest, key_id::text, tenant_id::text, max_context_tokens, default_max_tokens, allowed_models,"
    " extract(epoch FROM expires_at)::float8, limits, lane, weight, limits_of, names FROM gateway_keys"
)
MODELS_SQL = "SELECT name, owned_by, created, max_model_len, path, fim, tenant_id, base FROM gateway_models"
REPLICAS_SQL = (
    "SELECT replica_id::text, life_id::text, model, socket, max_sequences, attached FROM gateway_replicas"
    " ORDER BY replica_id"
)
LOGGED_SQL = "SELECT tenant_id FROM gateway_logged"
CANARIES_SQL = "SELECT name, version, share, max_model_len, path, fim FROM gateway_canaries"
CANARY_REPLICAS_SQL = (
    "SELECT replica_id::text, life_id::text, name, version, socket, max_sequences FROM gateway_canary_replicas"
    " ORDER BY replica_id"
)
ALIASES_SQL = "SELECT tenant_id, name, created, target, canary, share FROM gateway_aliases"
GENERATION_SQL = "SELECT value FROM gateway_generation"

Connection = psycopg.AsyncConnection[TupleRow]


class DirectoryFeed:
    """One task that owns one database connection and replaces the directory's snapshot."""

    def __init__(self, dsn: str, directory: Directory) -> None:
        self._dsn = dsn
        self._directory = directory
        self.loaded = asyncio.Event()

    async def run(self) -> None:
        """Follow the database until cancelled."""
        failures = 0
        while True:
            try:
                await self._follow()
            except (psycopg.Error, OSError, TimeoutError) as error:
                log.warning("directory: database away (%s), serving from memory", type(error).__name__)
            except Exception:
                # Top of the loop: a row that can't be read must not end the feed, or keys would be known forever.
                log.exception("directory: loading failed, serving from memory")
            failures = 0 if self._connected else failures + 1
            metrics.DIRECTORY_RECONNECTS.inc()
            await asyncio.sleep(min(MAX_BACKOFF_S, 0.1 * 2 ** min(failures, 6)) * random.uniform(0.5, 1))  # noqa: S311

    async def _follow(self) -> None:
        self._connected = False
        connection = await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=5, application_name="coderack-gateway"
        )
        async with connection:
            heard = asyncio.Event()
            connection.add_notify_handler(lambda _: heard.set())  # what comes along with a query's answer
            await _within(connection.execute(f"LISTEN {CHANNEL}"))
            await self._load(connection)
            self._connected = True
            while True:
                await _wait(connection, heard)
                if await self._generation(connection) != self._directory.snapshot.generation:
                    await self._load(connection)

    async def _generation(self, connection: Connection) -> int:
        row = await (await _within(connection.execute(GENERATION_SQL))).fetchone()
        return int(row[0]) if row else 0

    async def _load(self, connection: Connection) -> None:
        self._directory.snapshot = await _within(load_snapshot(connection))
        self.loaded.set()
        metrics.DIRECTORY_LOADS.inc()
        metrics.directory_generation().set(self._directory.snapshot.generation)


async def _within(awaitable: Any) -> Any:
    """An answer from a database that hangs must not be waited for: the connection is given up instead."""
    async with asyncio.timeout(ANSWER_S):  # wait_for can swallow a cancellation in Python 3.11
        return await awaitable


async def _wait(connection: Connection, heard: asyncio.Event) -> None:
    """Until the database says something or `POLL_S` passed. psycopg's own wait looks at the socket ten times a second."""
    loop = asyncio.get_running_loop()
    loop.add_reader(connection.fileno(), heard.set)  # each time: a query takes the place and leaves it empty
    try:
        async with asyncio.timeout(POLL_S):
            await heard.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(connection.fileno())
    heard.clear()


async def load_snapshot(connection: Connection) -> Snapshot:
    """Read all views in one transaction, so that they agree with each other."""
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        generation = await (await connection.execute(GENERATION_SQL)).fetchone()
        keys = await (await connection.execute(KEYS_SQL)).fetchall()
        models = await (await connection.execute(MODELS_SQL)).fetchall()
        replicas = await (await connection.execute(REPLICAS_SQL)).fetchall()
        logged = frozenset(row[0] for row in await (await connection.execute(LOGGED_SQL)).fetchall())
        canaries = await (await connection.execute(CANARIES_SQL)).fetchall()
        of_canaries = await (await connection.execute(CANARY_REPLICAS_SQL)).fetchall()
        aliases = await (await connection.execute(ALIASES_SQL)).fetchall()
    served = {row[0]: _model(row) for row in models}
    next_versions = {row[0]: _canary(served[row[0]], row) for row in canaries if row[0] in served}
    ready = [_replica(row) for row in replicas]
    ready += [_canary_replica(next_versions[row[2]].model, row) for row in of_canaries if row[2] in next_versions]
    return Snapshot(
        generation=int(generation[0]) if generation else 0,
        keys={row[0]: _key(row, logged) for row in keys},
        models=served,
        logged=logged,
        replicas=_by_model(ready),
        canaries=next_versions,
        aliases={(row[0], row[1]): _alias(row, served) for row in aliases},
    )


def _key(row: TupleRow, logged: frozenset[str]) -> Key:
    allowed = None if row[5] is None else frozenset(row[5])
    allowance = None if row[7] is None else _allowance(row[7])
    return Key(
        key_id=row[1],
        tenant_id=row[2],
        max_context_tokens=row[3],
        default_max_tokens=row[4],
        allowed_models=allowed,
        expires_at=row[6],
        allowance=allowance,
        lane=row[8],
        weight=row[9],
        limits_of=row[10],
        names=None if row[11] is None else frozenset(row[11]),
        logged=row[2] in logged,
    )


def _allowance(limits: dict[str, Any]) -> Allowance:
    models = {name: _limits(one) for name, one in limits["models"].items()}
    return Allowance(_limits(limits["tenant"]), _limits(limits["key"]), models, Prices(*limits["prices"]))


def _limits(one: dict[str, int | None]) -> Limits:
    known = dict(one)
    known["concurrency"] = known.pop("max_concurrency", known.get("concurrency"))
    return Limits(**known)


def _model(row: TupleRow) -> Model:
    return Model(row[0], row[1], int(row[2]), row[3], Path(row[4]), row[5], row[6], row[7])


def _replica(row: TupleRow) -> Replica:
    attached = None if row[5] is None else Attached(id=row[0], **row[5])
    return Replica(row[0], row[1], row[2], row[3], row[4], attached)


def _canary(served: Model, row: TupleRow) -> Canary:
    """The next version of a model, under its name."""
    _, version, share, max_model_len, path, fim = row
    model = replace(served, version=version, max_model_len=max_model_len, path=Path(path), fim=fim)
    return Canary(model, share)


def _alias(row: TupleRow, served: dict[str, Model]) -> Alias:
    """An alias with the models that it stands for, each only where it is served and its tenant may know of it."""
    tenant_id, name, created, to, canary, share = row
    model, other = (
        found if (found := served.get(one)) is not None and found.tenant_id in (None, tenant_id) else None
        for one in (to, canary)
    )
    next_one = Canary(other, share) if other is not None and share else None
    return Alias(name, tenant_id, int(created), to, model, next_one)


def _canary_replica(model: Model, row: TupleRow) -> Replica:
    replica_id, life_id, _, _, socket, max_sequences = row
    return Replica(replica_id, life_id, model.served_at, socket, max_sequences)


def _by_model(replicas: Iterable[Replica]) -> dict[str, tuple[Replica, ...]]:
    grouped: dict[str, tuple[Replica, ...]] = {}
    for replica in replicas:
        grouped[replica.model] = (*grouped.get(replica.model, ()), replica)
    return grouped
