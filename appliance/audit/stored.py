"""The log as it is stored: rows as entries with their hashes, the head file's place, and both held against each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from django.conf import settings

from appliance.audit import head
from appliance.audit.chain import Entry
from appliance.audit.models import AuditEntry
from appliance.audit.verify import Fault, verify

FIELDS = ("seq", "at", "actor", "tenant_id", "action", "subject", "details", "previous_hash")
CHUNK = 1000


def head_path() -> Path:
    """Where the heads lie."""
    return Path(settings.ENV.data_dir) / "audit" / "head.jsonl"


def faults() -> Iterator[Fault]:
    """Everything that is wrong with the log, as it is found; rows and lines are read a few at a time.

    Raises: OSError when the head file can't be read.
    """
    path = head_path()
    return verify(_entries(), head.read(path) if path.exists() else None, _hashes)


def _entries() -> Iterator[tuple[Entry, str]]:
    rows = AuditEntry.objects.order_by("seq").values_list(*FIELDS, "hash")
    for *fields, entry_hash in rows.iterator(chunk_size=CHUNK):
        yield Entry(*fields), entry_hash


def _hashes(seqs: Collection[int]) -> Mapping[int, str]:
    return dict(AuditEntry.objects.filter(seq__in=seqs).values_list("seq", "hash"))
