"""Settles what killed gateway workers left open: one ledger row for each request that an engine had, and its reservation
given back. Every step may be cut short and done again; two sweepers at once are one.

What such a request is billed is decided by inference.gateway.open_table.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

from appliance.ledger import metrics
from appliance.ledger.meter import ship_all
from appliance.ledger.models import LedgerEntry
from inference import failpoints
from inference.gateway.limits.scripts import CONTENT, OPEN, SCRIPTS
from inference.gateway.open_table import (
    Found,
    State,
    Table,
    beside,
    lost_record,
    read_table,
    spend_of,
    tables,
    writer_of,
)
from inference.metering.journal import JournalWriter, UsageRecord
from inference.pool.process import is_alive

log = logging.getLogger("coderack.meter")
LOCK = "sweep.lock"
AT_ONCE = 100  # reservations that one call of Redis' script ends


class Sweeper:
    """The meter's. Its own journal is begun with the first request that was lost."""

    def __init__(self, journal_dir: Path, client: redis.Redis) -> None:
        self._journal_dir = journal_dir
        self._directory = beside(journal_dir)
        self._client = client
        self._journal: JournalWriter | None = None

    def sweep(self) -> int:
        """Settle and remove the tables of all workers that are gone; returns how many there were.

        Raises: OSError, django.db.Error. A Redis that is away leaves its part for the next time.
        """
        if not any(self._directory.glob("open-*.bin")):
            return 0
        with _alone(self._directory / LOCK) as alone:
            dead = [path for path in tables(self._directory) if _is_over(path)] if alone else []
            if not dead:
                return 0
            # Its last lines first: they say more than what its table holds, and after them it writes none.
            ship_all(self._journal_dir)
            return sum(self._settle(path) for path in dead)

    def _settle(self, path: Path) -> bool:
        table = read_table(path)
        found = [slot for slot in table.slots if slot.request_id is not None]
        if not self._book(found, table.beat):
            log.error("what %s left open waits in memory: the journal's disk takes nothing", path.name)
            return False
        failpoints.reach("sweep.booked")
        try:
            self._tell_redis(found)
        except redis.RedisError as error:
            log.warning("reservations of a killed worker can't be given back, trying again: %s", error)
            return False
        failpoints.reach("sweep.told")
        self._count_damaged(path, table)  # here, so that what waits for disk or Redis is not counted at each sweep
        path.unlink()
        return True

    def _count_damaged(self, path: Path, table: Table) -> None:
        damaged = [
            slot for slot in table.slots if slot.request_id is None or (slot.state is State.OPEN and not slot.request)
        ]
        for slot in damaged:
            log.error("%s: an open request's slot is damaged and not booked: %s", path.name, slot.request_id)
        metrics.DAMAGED_SLOTS.inc(len(damaged))

    def _book(self, found: Sequence[Found], beat: float) -> bool:
        """Bring the lost ones into the ledger by a journal, as all usage goes; whether they are all there."""
        records = [record for slot in found if (record := lost_record(slot, beat)) is not None]
        missing = _not_booked(records)
        if not missing:
            return True
        if not self._writer().healthy:  # they wait in memory since an earlier sweep
            return False
        for record in missing:
            self._writer().append(record)
        failpoints.reach("sweep.written")
        ship_all(self._journal_dir)
        if _not_booked(missing):
            return False
        metrics.LOST.inc(len(missing))
        log.warning("%d requests of a killed gateway worker are billed by what was seen of them", len(missing))
        return True

    def _writer(self) -> JournalWriter:
        if self._journal is None:
            self._journal = JournalWriter(self._journal_dir, "sweeper")
        return self._journal

    def _tell_redis(self, found: Sequence[Found]) -> None:
        ended = list(_used(found))
        for start in range(0, len(ended), AT_ONCE):
            arguments = [value for one in ended[start : start + AT_ONCE] for value in one]
            script = SCRIPTS["settle"]
            try:
                self._client.evalsha(script.digest, 2, OPEN, CONTENT, *arguments)
            except redis.exceptions.NoScriptError:
                self._client.eval(script.text, 2, OPEN, CONTENT, *arguments)

    def close(self) -> None:
        """No more sweeps."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def _is_over(path: Path) -> bool:
    writer = writer_of(path)
    return writer is None or not is_alive(*writer)


def _not_booked(records: Sequence[UsageRecord]) -> list[UsageRecord]:
    ids = [record.request_id for record in records]
    booked = set(LedgerEntry.objects.filter(request_id__in=ids).values_list("request_id", flat=True))
    return [record for record in records if record.request_id not in booked]


def _used(found: Sequence[Found]) -> Iterator[tuple[str, int, int]]:
    """Of each reservation its request, the tokens and the money it used. A request may have been booked before it was
    marked so: the ledger knows.
    """
    ids = [slot.request_id for slot in found if slot.state is State.OPEN]
    rows = LedgerEntry.objects.filter(request_id__in=ids).values_list(
        "request_id", "prompt_tokens", "cached_tokens", "completion_tokens"
    )
    booked = {request_id: counts for request_id, *counts in rows}
    for slot in found:
        if slot.request_id is None:
            continue
        counts = booked.get(slot.request_id)
        if counts is None or slot.request is None:
            yield slot.request_id, slot.tokens, slot.spend_micros
        else:
            prompt, cached, completion = counts
            yield slot.request_id, prompt + completion, spend_of(slot.request, prompt, cached, completion)


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether nobody else sweeps; the kernel gives the lock up with the process."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _locked(fd)
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
