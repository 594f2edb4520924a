"""Moves usage from the journals to the ledger, exactly once: rows and cursor change in one transaction.

A journal file is removed when its writer is gone and every line is in the ledger. Reading and checking lines is
inference.metering's work.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from django.db import transaction

from appliance.ledger import metrics
from appliance.ledger.models import JournalCursor, LedgerEntry
from inference.gateway.open_table import LOST
from inference.metering.journal import Corrupt, UsageRecord, read_records
from inference.pool.process import read_stat

log = logging.getLogger("coderack.meter")
FILE_NAME = re.compile(r"^.+-(?P<pid>\d+)-(?P<started>\d+)\.jsonl$")


def entry(record: UsageRecord) -> LedgerEntry:
    """One journal record as a ledger row, not yet saved."""
    return LedgerEntry(
        request_id=record.request_id,
        tenant_id=record.tenant_id,
        key_id=record.key_id,
        model=record.model,
        endpoint=record.endpoint,
        stream=record.stream,
        life_id=record.life_id,
        replica_id=record.replica_id,
        started_at=datetime.fromtimestamp(record.started_at, UTC),
        finished_at=datetime.fromtimestamp(record.finished_at, UTC),
        prompt_tokens=record.prompt_tokens,
        cached_tokens=record.cached_tokens,
        completion_tokens=record.completion_tokens,
        engine_prompt_tokens=record.engine_prompt_tokens,
        outcome=record.outcome,
        http_status=record.http_status,
        ttft_ms=record.ttft_ms,
        exact=record.exact,
    )


def ship(path: Path) -> int:
    """Book what a journal file holds beyond its cursor; returns the number of records read."""
    with transaction.atomic():
        JournalCursor.objects.get_or_create(name=path.name)
        cursor = JournalCursor.objects.select_for_update().get(name=path.name)
        rows, offset = read_records(path, cursor.offset)
        if offset == cursor.offset:
            metrics.LAG.offsets[path.name] = offset
            return 0
        records = [row for row in rows if isinstance(row, UsageRecord)]
        corrupt = [row for row in rows if isinstance(row, Corrupt)]
        _make_way(records)
        LedgerEntry.objects.bulk_create([entry(r) for r in records], ignore_conflicts=True, batch_size=500)
        cursor.offset = offset
        cursor.corrupt_lines += len(corrupt)
        cursor.save(update_fields=("offset", "corrupt_lines"))
    metrics.LAG.offsets[path.name] = offset
    metrics.count(records, len(corrupt))
    for line in corrupt:
        log.error("journal %s holds a damaged line at byte %d; kept in the file, not booked", path.name, line.offset)
    return len(records)


def _make_way(records: Sequence[UsageRecord]) -> None:
    """A worker's own line replaces what was booked of its request as lost, whichever came first."""
    own = [record.request_id for record in records if record.outcome != LOST]
    for start in range(0, len(own), 5000):
        LedgerEntry.objects.filter(request_id__in=own[start : start + 5000], outcome=LOST).delete()


def ship_all(journal_dir: Path) -> int:
    """One pass over every journal file, oldest first; returns the number of records read."""
    if not journal_dir.is_dir():
        return 0
    count = 0
    for path in sorted(journal_dir.glob("*.jsonl"), key=lambda p: p.stat().st_mtime):
        writer_gone = _writer_is_gone(path)
        count += ship(path)
        if writer_gone:
            _retire(path)
    return count


def _writer_is_gone(path: Path) -> bool:
    """Whether nobody will append any more; asked before the last read, so that no line slips in between."""
    match = FILE_NAME.match(path.name)
    return match is not None and read_stat(int(match["pid"])) is None


def _retire(path: Path) -> None:
    cursor = JournalCursor.objects.get(name=path.name)
    size = path.stat().st_size
    if cursor.offset < size:  # a torn last line that nobody will complete
        log.error("journal %s ends within a line at byte %d; kept in the file, not booked", path.name, cursor.offset)
        cursor.offset, cursor.corrupt_lines = size, cursor.corrupt_lines + 1
        cursor.save(update_fields=("offset", "corrupt_lines"))
        metrics.LAG.offsets[path.name] = size
        metrics.count([], 1)
    if cursor.corrupt_lines == 0:
        path.unlink()
        cursor.delete()
        metrics.LAG.offsets.pop(path.name, None)
