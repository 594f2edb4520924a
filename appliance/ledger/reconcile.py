"""The books against the engines: per engine's life what its counters and the ledger say, and what is still on its way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.db.models import Count, Max, Q, Sum
from django.utils import timezone

from appliance.fleet.models import EngineLife
from appliance.ledger.models import JournalCursor, LedgerEntry
from inference.gateway.open_table import LOST, beside, tables, writer_of
from inference.metering.books import SETTLED_S, LifeBooks, Tokens
from inference.metering.journal import Corrupt, read_records
from inference.pool.process import is_alive

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class OnTheWay:
    """What is not in the ledger yet, and what never will be."""

    unshipped_lines: int
    corrupt_lines: int
    unswept_workers: int


@dataclass(frozen=True)
class Report:
    """All lives of some days. `elsewhere` was billed on engines that no life is known of."""

    lives: tuple[LifeBooks, ...]
    elsewhere: Tokens
    on_the_way: OnTheWay

    @property
    def overbilled(self) -> Tokens:
        """Of all lives."""
        return sum((life.overbilled for life in self.lives), Tokens())

    @property
    def unattributed(self) -> Tokens:
        """Of all lives at rest."""
        return sum((life.unattributed or Tokens() for life in self.lives), Tokens())


def reconcile(journal_dir: Path, days: int) -> Report:
    """The books of every life that runs or ended within so many days."""
    since = timezone.now() - timedelta(days=days)
    on_the_way = what_is_on_the_way(journal_dir)
    return Report(tuple(lives_since(since)), _elsewhere(since), on_the_way)


def lives_since(since: datetime) -> Iterator[LifeBooks]:
    """The books of every life that runs or ended after a moment, newest first."""
    for life in EngineLife.objects.filter(Q(ended_at=None) | Q(ended_at__gte=since)).order_by("-started_at"):
        yield _books(life)


def _books(life: EngineLife) -> LifeBooks:
    read_at = life.counters_at or _LONG_AGO
    rows = LedgerEntry.objects.filter(life_id=life.pk).order_by()
    settled = Q(finished_at__lte=read_at - timedelta(seconds=SETTLED_S))
    sums = rows.aggregate(
        prompt=Sum("engine_prompt_tokens"),
        completion=Sum("completion_tokens"),
        settled_prompt=Sum("engine_prompt_tokens", filter=settled),
        settled_completion=Sum("completion_tokens", filter=settled),
        requests=Count("pk"),
        inexact=Count("pk", filter=Q(exact=False)),
        lost=Count("pk", filter=Q(outcome=LOST)),
        last=Max("finished_at"),
    )
    idle = not (life.requests_running or life.requests_waiting) and (sums["last"] or _LONG_AGO) <= read_at
    return LifeBooks(
        life_id=str(life.pk),
        replica_id=str(life.replica_id) if life.replica_id else None,
        model=life.model_name,
        has_ended=life.ended_at is not None,
        at_rest=life.ended_at is not None or idle,
        engine=Tokens(life.prompt_tokens, life.generation_tokens),
        ledger=Tokens(sums["prompt"] or 0, sums["completion"] or 0),
        settled=Tokens(sums["settled_prompt"] or 0, sums["settled_completion"] or 0),
        num_requests=sums["requests"],
        num_inexact=sums["inexact"],
        num_lost=sums["lost"],
        counters_known=not life.attached_url or life.counters_at is not None,
        attached_url=life.attached_url,
        counts_aborted=life.counts_aborted,
    )


def _elsewhere(since: datetime) -> Tokens:
    rows = LedgerEntry.objects.filter(finished_at__gte=since).exclude(life_id__in=EngineLife.objects.values("pk"))
    sums = rows.order_by().aggregate(prompt=Sum("engine_prompt_tokens"), completion=Sum("completion_tokens"))
    return Tokens(sums["prompt"] or 0, sums["completion"] or 0)


def what_is_on_the_way(journal_dir: Path) -> OnTheWay:
    """What the journals hold beyond their cursors, and killed workers that were not swept."""
    offsets = dict(JournalCursor.objects.values_list("name", "offset"))
    unshipped = 0
    for path in journal_dir.glob("*.jsonl"):
        try:
            records, _ = read_records(path, offsets.get(path.name, 0))
        except FileNotFoundError:
            continue  # all of it was booked meanwhile
        unshipped += sum(not isinstance(record, Corrupt) for record in records)
    corrupt = JournalCursor.objects.aggregate(lines=Sum("corrupt_lines"))["lines"] or 0
    writers = [writer_of(path) for path in tables(beside(journal_dir))]
    unswept = sum(writer is None or not is_alive(*writer) for writer in writers)
    return OnTheWay(unshipped, corrupt, unswept)
