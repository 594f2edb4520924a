"""Lists what gateway workers wrote, and ends it in time: a part of the meter's process.

The workers' files are the store: nothing is copied. A row says where each record lies. Every step may be cut short and
done again: a record is listed once by its request's id, and a row whose file is gone goes, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from django.db import Error, transaction
from django.utils import timezone

from appliance.conversations import metrics
from appliance.conversations.models import MIB, Conversation, ConversationLog, Segment
from inference.conversations import segments
from inference.conversations.errors import Erased
from inference.conversations.segments import Found
from inference.conversations.vault import Vault

log = logging.getLogger("coderack.conversations")
AT_ONCE = 500  # records of a file in one transaction
NEW_DAYS = 2  # where workers may be writing


@dataclass(frozen=True)
class Clock:
    """The next time for each kind of work, in seconds of the monotonic clock."""

    list_at: float = 0.0
    tidy_at: float = 0.0


class Keeper:
    """Does what is due when it is asked."""

    LIST_EVERY_S = 1.0
    TIDY_EVERY_S = 60.0

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._due = Clock()

    def work(self, now: float) -> None:
        """What is due; `now` is the monotonic clock's. A fault is told and met again at the next pass."""
        if now >= self._due.list_at:
            self._due = Clock(now + self.LIST_EVERY_S, self._due.tidy_at)
            with _told():
                self.list_new()
        if now >= self._due.tidy_at:
            self._due = Clock(self._due.list_at, now + self.TIDY_EVERY_S)
            with _told():
                self.tidy(timezone.now())

    def list_new(self) -> int:
        """Make rows of the records that were written since; how many."""
        count = 0
        tenants = self._vault.tenants()
        for row in ConversationLog.objects.filter(tenant__in=tenants) if tenants else ():
            with _told(row.tenant_id):
                for day in self._vault.days(row.tenant_id)[-NEW_DAYS:]:
                    if not self._is_over(row, day, timezone.now()):
                        count += self._list_day(row.tenant_id, day)
        return count

    def _list_day(self, tenant: str, day: date) -> int:
        try:
            key = self._vault.open_key(tenant, day)
        except Erased:
            return 0
        rows = {row.name: row for row in Segment.objects.filter(tenant_id=tenant, day=day)}
        count = 0
        for path in segments.files(self._vault.day_dir(tenant, day)):
            row = rows.get(path.name)
            if row is None:
                row, _ = Segment.objects.get_or_create(tenant_id=tenant, day=day, name=path.name)
            if row.closed:
                continue
            written_to = segments.writer_lives(path.name)  # asked before the read, so that nothing slips in between
            found = list(segments.read(path, key, row.offset, AT_ONCE))
            ended = not written_to and len(found) < AT_ONCE
            if found or ended:
                count += _list(row, found, ended)
            if ended and row.offset < path.stat().st_size:
                log.warning("a killed worker left a conversation half written in %s", path.name)
                metrics.DAMAGED.inc()
        return count

    def tidy(self, now: datetime) -> None:
        """End what is to end: of tenants that are gone, what was erased, what is over its time or its size."""
        logs = {row.tenant_id: row for row in ConversationLog.objects.all()}
        total = 0
        for tenant in self._vault.tenants():
            with _told(tenant):
                total += self._tidy_tenant(tenant, logs.get(tenant), now)
        self._forget(logs)
        metrics.BYTES.set(total)
        metrics.TENANTS.set(sum(row.is_on for row in logs.values()))

    def _tidy_tenant(self, tenant: str, row: ConversationLog | None, now: datetime) -> int:
        """What is left of its files, in bytes."""
        if row is None:
            self._vault.erase_tenant(tenant)
            return 0
        for day in self._vault.days(tenant):
            if self._is_over(row, day, now):
                self._vault.erase_day(tenant, day)
                metrics.ERASED_DAYS.inc()
        return self._keep_size(row)

    def _is_over(self, row: ConversationLog, day: date, now: datetime) -> bool:
        if day + timedelta(days=row.days) < now.astimezone(UTC).date():
            return True
        if row.erased_at is None:
            return False
        made_at = self._vault.made_at(row.tenant_id, day)
        erased_since_off = not row.is_on and row.erased_at >= row.changed_at
        return erased_since_off or (made_at is not None and made_at < row.erased_at.timestamp())

    def _keep_size(self, row: ConversationLog) -> int:
        """Remove the oldest files nobody writes to while a tenant has too much; what is left, in bytes.

        A worker writes to the newest of its files only, for as long as it lives.
        """
        found = [path for day in self._vault.days(row.tenant_id) for path in self._files(row.tenant_id, day)]
        sizes = {path: path.stat().st_size for path in found}
        total = sum(sizes.values())
        newest = segments.newest(found)
        for path in found:
            if total <= row.max_mib * MIB:
                break
            if path not in newest or not segments.writer_lives(path.name):
                path.unlink()
                total -= sizes[path]
                metrics.OVER_SIZE.inc()
        return total

    def _files(self, tenant: str, day: date) -> list[Path]:
        return segments.files(self._vault.day_dir(tenant, day))

    def _forget(self, logs: Mapping[str, ConversationLog]) -> None:
        """Rows whose file is gone."""
        for tenant in logs:
            gone = [
                row.pk
                for row in Segment.objects.filter(tenant_id=tenant).only("tenant_id", "day", "name")
                if not (self._vault.day_dir(tenant, row.day) / row.name).exists()
            ]
            Segment.objects.filter(pk__in=gone).delete()


@contextmanager
def _told(tenant: str = "") -> Iterator[None]:
    """A fault with one tenant's files or rows is told, and keeps no other's waiting for their end."""
    try:
        yield
    except (Error, OSError, ValueError) as error:
        log.warning(
            "kept conversations%s can't be looked after, trying again: %s", f" of {tenant}" if tenant else "", error
        )
        metrics.FAILED.inc()


@transaction.atomic
def _list(row: Segment, found: list[Found], ended: bool) -> int:
    """Rows of records and how far the file was read, together; nothing where somebody else was first."""
    if not Segment.objects.select_for_update().filter(pk=row.pk, offset=row.offset, closed=False).exists():
        return 0
    if found:
        row.offset = found[-1].offset + found[-1].size
    row.closed = ended
    row.save(update_fields=("offset", "closed"))
    whole = [record for record in found if record.about is not None]
    Conversation.objects.bulk_create([_row(row, record) for record in whole], ignore_conflicts=True)
    metrics.LISTED.inc(len(whole))
    metrics.DAMAGED.inc(len(found) - len(whole))
    return len(whole)


def _row(segment: Segment, found: Found) -> Conversation:
    about = found.about
    assert about is not None  # noqa: S101 - the caller left the others out; for the type checker
    return Conversation(
        request_id=about.request_id, tenant_id=segment.tenant_id, segment=segment, offset=found.offset, size=found.size,
        at=datetime.fromtimestamp(about.at, UTC), key_id=about.key_id, model=about.model, endpoint=about.endpoint,
        stream=about.stream, prompt_tokens=about.prompt_tokens, completion_tokens=about.completion_tokens,
        outcome=about.outcome, http_status=about.http_status, cut=about.cut,
    )  # fmt: skip
