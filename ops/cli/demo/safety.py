"""The safety net: a backup and an appliance made of it, a support bundle without secrets, the audit log."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import openai
import psycopg

from appliance.audit.models import AuditEntry
from appliance.env import PREFIX, REPO, VARIABLES, Env, default_run_dir, secret_key
from appliance.login import read_login
from appliance.training.models import StoredFile
from appliance.training.planted import planted_secret
from ops.cli.demo import private_data
from ops.cli.demo.cast import NORTH
from ops.cli.demo.tenancy import wait_until_usable
from ops.cli.demo.walk import Shown, StepFailed, Walk, found, ms_since
from ops.embedded import postgres

BACKUP, COPY, SUPPORT = "backup", "copy", "support.tar.gz"
KEPT_SETTINGS = ("CODERACK_SECRET_KEY", "CODERACK_SECRET_KEY_FILE", "CODERACK_ENGINE_FLAVOUR")
CLI_S = 120.0
BOOKED_S = 15.0
SUMS = (
    "SELECT count(*), coalesce(sum(prompt_tokens), 0)::bigint, coalesce(sum(cached_tokens), 0)::bigint,"
    " coalesce(sum(completion_tokens), 0)::bigint FROM ledger_ledgerentry WHERE finished_at <= %s"
)
FORGE = (
    "ALTER TABLE audit_auditentry DISABLE TRIGGER audit_append_only",
    "UPDATE audit_auditentry SET actor = 'somebody else' WHERE seq = 1",
    "ALTER TABLE audit_auditentry ENABLE TRIGGER audit_append_only",
)


@dataclass(frozen=True)
class Copy:
    """The restored appliance: a data directory below the demo's folder and a port of its own."""

    env: Env
    port: int

    @property
    def data_dir(self) -> Path:
        """Where it lies."""
        return self.env.data_dir / "demo" / COPY

    @property
    def run_dir(self) -> Path:
        """Its sockets: another data directory, another run directory."""
        return default_run_dir(self.data_dir)

    @property
    def dsn(self) -> str:
        """Its embedded PostgreSQL, as the cluster's owner."""
        return f"postgresql://coderack@/coderack?host={self.run_dir / 'pg'}"

    def coderack(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command as an operator of the copy does: none of the original's settings but its secret key."""
        own = {variable.name for variable in VARIABLES}
        inherited = {
            name: value for name, value in os.environ.items()
            if name in KEPT_SETTINGS or not (name.startswith(PREFIX) or name.removesuffix("_FILE") in own)
        }  # fmt: skip
        settings = {
            "CODERACK_DATA_DIR": str(self.data_dir), "CODERACK_CACHE_DIR": str(self.env.cache_dir),
            "CODERACK_PORT": str(self.port), "CODERACK_DEMO_MODEL": "false", "CODERACK_GATEWAY_WORKERS": "1",
            "CODERACK_CONSOLE_WORKERS": "1",
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "ops.cli.main", *arguments], cwd=REPO, env=inherited | settings, capture_output=True,
            text=True, check=False, timeout=CLI_S,
        )  # fmt: skip

    def must(self, *arguments: str) -> str:
        """Raises: StepFailed with what it said when it failed."""
        done = self.coderack(*arguments)
        if done.returncode != 0:
            raise StepFailed(
                f"`coderack {' '.join(arguments)}` of the copy ended with {done.returncode}: {done.stderr[-800:]}"
            )
        return done.stdout

    def client(self, key: str) -> openai.OpenAI:
        """The official client, at the copy's gateway."""
        return openai.OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key=key, max_retries=0, timeout=30)

    def remove(self) -> None:
        """End it and remove it, a killed walk's as well."""
        if self.data_dir.exists():
            self.coderack("stop")
        cluster = postgres.place(self.data_dir, self.run_dir / "pg").data_dir  # root's may lie elsewhere
        for folder in (self.data_dir, cluster, self.run_dir):
            shutil.rmtree(folder, ignore_errors=True)


def make_a_backup(walk: Walk) -> Shown:
    """A backup of the running appliance; a key that was revoked before is in it as such."""
    target = walk.env.data_dir / "demo" / BACKUP
    shutil.rmtree(target, ignore_errors=True)
    made = walk.cli_json("key", "create", NORTH, "--name", "demo, revoked before the backup")
    wait_until_usable(walk, made["key"])
    walk.cli("key", "revoke", made["id"])
    walk.keys["revoked"], walk.key_ids["revoked"] = made["key"], made["id"]
    begin = time.monotonic()
    told = walk.cli_json("backup", str(target))
    return Shown(
        str(target),
        {"files": told["files"], "bytes": told["bytes"], "ledger": told["ledger"], "took_ms": ms_since(begin)},
        {
            "path": str(target), "digest": told["digest"], "taken_at": told["taken_at"], "entry": told["audit"],
            "revoked": made["id"],
        },
    )  # fmt: skip


def restore_and_serve(walk: Walk) -> Shown:
    """An appliance made of the backup, beside this one: the same keys, files and ledger; a forged entry is found."""
    begin = time.monotonic()
    with _restored(walk.env) as (copy, told):
        answers = _keys(walk, copy)
        files = _files(walk, copy)
        sums = _sums(walk, copy, told["taken_at"])
        served_ms = ms_since(begin)
        fault = _forge(copy)
    names = ("rows", "prompt_tokens", "cached_tokens", "completion_tokens")
    return Shown(
        told["digest"],
        {
            "ledger": dict(zip(names, sums, strict=True)), "files": len(files), **answers, "audit_whole": told["audit_whole"],
            "missing_models": len(told["missing_models"]), "edited_entry_says": fault, "served_after_ms": served_ms,
            "took_ms": ms_since(begin),
        },
        {
            "copy": str(copy.data_dir), "run_dir": str(copy.run_dir), "digest": told["digest"], "taken_at": told["taken_at"],
            "key": walk.key_ids[NORTH], "revoked": walk.key_ids["revoked"], "files": files,
        },
    )  # fmt: skip


@contextmanager
def _restored(env: Env) -> Iterator[tuple[Copy, dict[str, Any]]]:
    """The copy, restored and started, and what the restore told; afterwards nothing of it is left."""
    copy = Copy(env, _free_port())
    copy.remove()
    try:
        told = json.loads(copy.must("restore", str(env.data_dir / "demo" / BACKUP), "--idle", "--json"))
        copy.must("start")
        yield copy, told
    finally:
        copy.remove()


def _keys(walk: Walk, copy: Copy) -> dict[str, Any]:
    """The tenant's key is taken, the revoked one is not."""
    copy.client(walk.keys[NORTH]).models.list()
    try:
        copy.client(walk.keys["revoked"]).models.list()
    except openai.AuthenticationError as error:
        return {"key_status": 200, "revoked_status": error.status_code}
    raise StepFailed("the copy takes the key that was revoked before the backup")


def _files(walk: Walk, copy: Copy) -> list[str]:
    """The tenant's files by id, the same at both."""
    there = sorted(file.id for file in copy.client(walk.keys[NORTH]).files.list())
    here = sorted(StoredFile.objects.filter(tenant=NORTH, deleted_at=None).values_list("pk", flat=True))
    if there != here or not there:
        raise StepFailed(f"the copy lists the files {there}, the original has {here}")
    return there


def _sums(walk: Walk, copy: Copy, taken_at: str) -> tuple[int, ...]:
    """The ledger up to the backup, the same at both once the copy's meter has booked what was in journals."""
    until = datetime.fromisoformat(taken_at)

    def read(dsn: str) -> tuple[int, ...]:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            return tuple(connection.execute(SUMS, [until]).fetchone() or ())

    def same() -> tuple[int, ...] | None:
        here, there = read(walk.env.database_dsn()), read(copy.dsn)
        return here if here == there and here[0] > 0 else None

    return found(same, BOOKED_S, "the copy's ledger did not become the original's", 0.3)


def _forge(copy: Copy) -> str:
    """Change an entry as the table's owner could; what `audit verify` says of it."""
    copy.must("audit", "verify")
    with psycopg.connect(copy.dsn, connect_timeout=5) as connection:
        for statement in FORGE:
            connection.execute(statement)
    done = copy.coderack("audit", "verify")
    if done.returncode == 0 or "entry 1 " not in done.stderr:
        raise StepFailed(f"an edited entry of the copy's audit log was not found: {done.stdout}{done.stderr}")
    return done.stderr.splitlines()[0]


def make_a_support_bundle(walk: Walk) -> Shown:
    """A support bundle, looked through for everything that must not be in it."""
    target = walk.env.data_dir / "demo" / SUPPORT
    target.unlink(missing_ok=True)
    begin = time.monotonic()
    told = walk.cli_json("support-bundle", str(target))
    took_ms = ms_since(begin)
    if told["missing"]:
        raise StepFailed(f"the support bundle lacks {', '.join(told['missing'])}")
    forbidden = _forbidden(walk)
    with tarfile.open(target) as archive:
        texts = {member.name: _content(archive, member) for member in archive}
    held = sorted(
        f"{what} in {name}" for name, text in texts.items() for what, value in forbidden.items() if value in text
    )
    if held:
        raise StepFailed(f"the support bundle holds {'; '.join(held)}")
    return Shown(
        str(target), {"parts": len(texts), "bytes": told["bytes"], "values_looked_for": len(forbidden), "took_ms": took_ms},
        {"path": str(target), "parts": sorted(texts)},
    )  # fmt: skip


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    return file.read().decode(errors="replace") if file else ""


def _forbidden(walk: Walk) -> dict[str, str]:
    """Secrets of the appliance and of the walk, and what its tenants called their files."""
    login = read_login(walk.env.data_dir / "first-login.json")
    values = {f"the key of {name}": key for name, key in walk.keys.items()}
    values |= {f"planted: {name}": value for name, value in private_data.PLANTED.items()}
    values |= {"the secret key": secret_key(walk.env), "the planted secret": planted_secret().decode()}
    values |= {"the first password": login.password, "the first key": login.api_key} if login else {}
    files = StoredFile.objects.filter(tenant=NORTH, deleted_at=None).values_list("filename", flat=True)
    values |= {f"the file name {name}": name for name in files}
    return {what: value for what, value in values.items() if value}


def verify_the_audit_log(walk: Walk) -> Shown:
    """The log is whole, and what the walk did as an operator is in it."""
    told = walk.cli_json("audit", "verify")
    acts = (
        "tenant.create",
        "key.create",
        "key.revoke",
        "job.create",
        "adapter.approve",
        "backup.create",
        "support.bundle",
    )
    counts = {act: AuditEntry.objects.filter(action=act).count() for act in acts}
    if not told["ok"] or 0 in counts.values():
        raise StepFailed(f"whole: {told['ok']}, entries: {counts}")
    return Shown("audit verify", {"entries": told["head"]["seq"], **counts}, {"head": told["head"]})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
