"""What of a data directory is in a backup and what is made again: each entry that the appliance writes is in one list.

A new entry belongs here before it is written; a test compares. An entry in no list is named by the backup and left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

# Copied as they lie there. `audit` and `journal` are read at their own moments: ops.backup.make says why.
KEPT = {
    "acceptance": "reports and certificates, and the key that signs them",
    "attached": "keys and CA files of servers that the pool did not start",
    "audit": "the heads of the audit log",
    "batches": "answers of batches that are not over",
    "corpora": "public code that fine-tunes recall replay from",
    "datasets": "what cleaning made of tenants' uploads",
    "erasures": "signed certificates of what was erased",
    "files": "tenants' uploads",
    "first-login.json": "the first operator's password and the demo key",
    "jobs": "fine-tunes: adapters, checkpoints that a job may go on from, trainers' logs",
    "journal": "usage that is not in the ledger yet",
    "planted_secret": "the key under which replaced secrets are remembered",
    "secret_key": "signs sessions, salts prefix caches",
    "trust": "whose bundles are accepted, and the newest that were seen",
}
MADE_AGAIN = {
    "celery-beat": "when the sweep ran last",
    "conversation_key": "opens kept conversations: in a copy they would outlive their erasure",
    "conversations": "what tenants asked to have kept for some days: in a copy it would outlive its erasure",
    "demo": "the last demo's report",
    "logs": "for people; a support bundle has their ends",
    "open": "what gateway workers had under way: nothing of it runs where a backup is restored",
    "merged": "adapters merged into their base, for engines that can't apply them: made from what is kept",
    "pgdata": "the embedded PostgreSQL's files: the dump has what is in them",
    "pgdata.begun": "marks a cluster that is half-made",
    "ready.json": "the facts of a running appliance",
    "redis": "sessions' cache and wake-up messages: the rows are the truth",
    "replicas": "engines' homes and what they compiled",
    "restore.begun": "marks a data directory that is half-restored",
    "storage_id": "which directory belongs to the database: a restored one is another",
    "upgrade.lock": "held while an upgrade runs",
}
# Of the cache directory, which may be the same one: from wheels, downloads and bundles.
CACHE = frozenset({"downloads", "engines", "models", "static", "suites"})
# Of a fine-tune: homes of processes and the training rows' split. Elsewhere a tenant may be called so.
SCRATCH = ("jobs", frozenset({"home", "scores", "split"}))


def is_left_out(path: Path) -> bool:
    """Whether a path below what is kept, relative to the data directory, is scratch; uploads begin hidden."""
    top, names = SCRATCH
    return path.name.startswith(".") or (path.parts[0] == top and path.name in names)


def unknown(data_dir: Path, cache_dir: Path) -> Iterator[str]:
    """The entries of a data directory that are in no list; hidden ones are temporary names."""
    for path in sorted(data_dir.iterdir()):
        name = path.name
        known = name in KEPT or name in MADE_AGAIN or name.startswith((".", "celery-beat"))
        if not known and not (name in CACHE and data_dir == cache_dir):
            yield name
