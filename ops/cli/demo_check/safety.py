"""Claims about the safety net: the backup's own bytes, what the copy of it held, a support bundle, the audit log's chain."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.cli.demo_check.evidence import NORTH, PLANTED, Evidence, sha256

SUMS = ("prompt_tokens", "cached_tokens", "completion_tokens")
# What a dump in PostgreSQL's custom format begins with, and tables whose names its list of contents has to have.
DUMP_BEGINS = b"PGDMP"
TABLES = (b"tenants_apikey", b"ledger_ledgerentry", b"audit_auditentry", b"training_storedfile", b"registry_adapter")
LIST_BYTES = 4 * 1024 * 1024
SECRETS = (
    re.compile(r"sk-cr-[\w-]{20,}"),
    re.compile(r"PRIVATE KEY"),
    re.compile(r"://[^\s/@:]+:(?!\[masked\]|REDACTED_)[^\s/@]+@"),
)
SECRET_FILES = ("secret_key", "planted_secret")
CHAINED = ("seq", "at", "actor", "tenant_id", "action", "subject", "details", "previous_hash")


def backed_up(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Every file of the backup is what the manifest says, the dump is one, and the act is in the log."""
    folder = Path(shown["path"])
    manifest = folder / "manifest.json"
    if sha256(manifest) != shown["digest"]:
        yield f"the manifest's digest is {sha256(manifest)[:12]}"
        return
    content = json.loads(manifest.read_bytes())
    listed = {file["path"]: file for file in content["files"]}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    if there != set(listed) or len(listed) != measured["files"]:
        yield f"files and manifest differ: {sorted(there ^ set(listed))[:5]}"
    yield from (f"{name} was changed" for name, file in listed.items() if sha256(folder / name) != file["sha256"])
    if folder.stat().st_mode & 0o077:
        yield "others can read the backup"
    yield from _dump_faults(folder / "database.dump")
    yield from _moment_faults(content["facts"], shown, evidence)
    yield from (f"{path} is not in it" for path in _uploads(evidence) if path not in listed)


def _dump_faults(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        begin = file.read(LIST_BYTES)
    if not begin.startswith(DUMP_BEGINS):
        yield "the dump is none"
    yield from (f"the dump has no {table.decode()}" for table in TABLES if table not in begin)


def _moment_faults(facts: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    entry = evidence.one("SELECT action, hash, at FROM audit_auditentry WHERE seq = %s", shown["entry"]["seq"])
    if entry is None or (entry["action"], entry["hash"]) != ("backup.create", facts["audit"]["hash"]):
        yield f"entry {shown['entry']['seq']} of the audit log is not the backup's"
    elif facts["taken_at"] != shown["taken_at"] or datetime.fromisoformat(shown["taken_at"]) < entry["at"]:
        yield "it was taken before its entry"
    if facts["ledger"]["rows"] > _ledger(evidence, shown["taken_at"])["rows"]:
        yield "it counts more ledger rows than there were"


def _uploads(evidence: Evidence) -> list[str]:
    rows = evidence.all("SELECT sha256 FROM training_storedfile WHERE tenant_id = %s AND deleted_at IS NULL", NORTH)
    return [f"data/files/{NORTH}/{row['sha256']}" for row in rows]


def _ledger(evidence: Evidence, until: str) -> dict[str, Any]:
    sums = ", ".join(f"coalesce(sum({name}), 0)::bigint AS {name}" for name in SUMS)
    query = f"SELECT count(*) AS rows, {sums} FROM ledger_ledgerentry WHERE finished_at <= %s"  # noqa: S608 - our own names
    return evidence.one(query, datetime.fromisoformat(until)) or {}


def restored(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The copy's ledger and files were this appliance's, the keys' rows bear out the answers, and the copy is gone."""
    if measured["ledger"] != _ledger(evidence, shown["taken_at"]) or measured["ledger"]["rows"] < 1:
        yield f"the ledger up to the backup is {_ledger(evidence, shown['taken_at'])}, the copy's was {measured['ledger']}"
    rows = evidence.all(
        "SELECT id FROM training_storedfile WHERE tenant_id = %s AND deleted_at IS NULL ORDER BY id", NORTH
    )
    if [row["id"] for row in rows] != shown["files"] or not rows:
        yield "the copy listed other files"
    keys = {
        str(row["id"]): row["revoked_at"]
        for row in evidence.all("SELECT id, revoked_at FROM tenants_apikey WHERE tenant_id = %s", NORTH)
    }
    taken_at = datetime.fromisoformat(shown["taken_at"])
    used, revoked = keys.get(shown["key"]), keys.get(shown["revoked"])
    if shown["key"] not in keys or (used is not None and used <= taken_at):
        yield "the key that answered did not work when the backup was made"
    if revoked is None or revoked > taken_at:
        yield "the refused key was not revoked when the backup was made"
    if (measured["key_status"], measured["revoked_status"], measured["audit_whole"]) != (200, 401, True):
        yield f"the copy answered with {measured['key_status']} and {measured['revoked_status']}"
    if not re.match(r"entry 1 was edited", measured["edited_entry_says"]):
        yield f"of the edited entry it says {measured['edited_entry_says']!r}"
    yield from (f"{path} is still there" for path in (shown["copy"], shown["run_dir"]) if Path(path).exists())


def bundled(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The support bundle has its parts and none of the secrets, as this program looks for them."""
    path = Path(shown["path"])
    if path.stat().st_mode & 0o077:
        yield "others can read the support bundle"
    with tarfile.open(path) as archive:
        texts = {member.name: _text(archive, member) for member in archive if member.isfile()}
    if sorted(texts) != shown["parts"] or len(texts) != measured["parts"]:
        yield "it has other parts than the report says"
    for part in ("README.txt", "status.json", "settings.json", "fleet.json", "audit.json", "logs/gateway.log"):
        if f"coderack-support/{part}" not in texts:
            yield f"it has no {part}"
    values = [*PLANTED, *_secret_values(evidence.data_dir)]
    for name, text in texts.items():
        if any(value in text for value in values) or any(shape.search(text) for shape in SECRETS):
            yield f"{name} holds a secret"


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    return file.read().decode(errors="replace") if file else ""


def _secret_values(data_dir: Path) -> Iterator[str]:
    yield from (path.read_text().strip() for name in SECRET_FILES if (path := data_dir / name).is_file())
    login = data_dir / "first-login.json"
    if login.is_file():
        content = json.loads(login.read_text())
        yield from (content[name] for name in ("password", "api_key") if content.get(name))


def audited(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The chain, hashed anew here, leads to the head that was told."""
    last, previous = 0, "0" * 64
    for row in evidence.all("SELECT * FROM audit_auditentry ORDER BY seq"):
        fields = {name: row[name] for name in CHAINED} | {
            "at": row["at"].astimezone(UTC).isoformat(timespec="microseconds")
        }
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        if (row["seq"], row["previous_hash"]) != (last + 1, previous) or hashlib.sha256(
            text.encode()
        ).hexdigest() != row["hash"]:
            yield f"entry {row['seq']} does not follow entry {last}"
            return
        last, previous = row["seq"], row["hash"]
        if last == shown["head"]["seq"] and previous != shown["head"]["hash"]:
            yield "the head that was told is another one"
    if last < shown["head"]["seq"] or measured["entries"] != shown["head"]["seq"]:
        yield f"the log ends at {last}"
