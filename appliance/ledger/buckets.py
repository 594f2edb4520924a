"""A tenant's ledger summed in buckets of time, by the database and in one query for each page.

Buckets lie on multiples of their width since 1970 in UTC; a range that begins or ends within one cuts it. A request counts
where it ended. What the sums mean to a client, and what they cost, is said elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import OperationalError, connection, transaction
from django.db.models import Count, DateTimeField, F, Func, QuerySet, Sum, Value
from django.db.models.functions import Least
from psycopg.errors import QueryCanceled

from appliance.ledger.cost import Tokens
from appliance.ledger.models import LedgerEntry

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_GROUPS = 20_000
TIMEOUT_MS = 15_000


class TooMuch(Exception):
    """The range holds more than one answer may take; a shorter one is answered."""

    code = "range_too_large"
    permanent = True


@dataclass(frozen=True)
class Bucket:
    """A stretch of time in seconds since 1970: `start` belongs to it, `end` does not."""

    start: int
    end: int


@dataclass(frozen=True)
class Sums:
    """What one group of requests used in one bucket. `names` are the values of the columns it was grouped by."""

    names: Mapping[str, str | None]
    requests: int
    tokens: Tokens


def present_end(width_s: int) -> int:
    """The end of the bucket that now lies in: the ledger has nothing after it."""
    return (int(time.time()) // width_s + 1) * width_s


def cut(start: int, end: int, width_s: int, limit: int) -> list[Bucket]:
    """The first buckets of a range, at most `limit`."""
    buckets: list[Bucket] = []
    while start < end and len(buckets) < limit:
        buckets.append(Bucket(start, min((start // width_s + 1) * width_s, end)))
        start = buckets[-1].end
    return buckets


def summed(
    rows: QuerySet[LedgerEntry], buckets: Sequence[Bucket], width_s: int, columns: Sequence[str]
) -> list[tuple[Bucket, list[Sums]]]:
    """The sums of these rows in each bucket, grouped by columns; empty buckets too.

    Fewer buckets come back where all of them would hold more than MAX_GROUPS groups.
    Raises: TooMuch when not even the first bucket can be summed, or the database takes too long.
    """
    if not buckets:
        return []
    found = _asked(_query(rows, buckets, width_s, columns))
    by_start: dict[int, list[Sums]] = {}
    for row in found[:MAX_GROUPS]:
        by_start.setdefault(int(row["bucket"].timestamp()), []).append(_sums(row, columns))
    kept = [bucket for bucket in buckets if _floor(bucket, width_s) < _unfinished(found)]
    if not kept:
        raise TooMuch(f"{MAX_GROUPS} groups are too many for one bucket")
    return [(bucket, by_start.get(_floor(bucket, width_s), [])) for bucket in kept]


def _query(
    rows: QuerySet[LedgerEntry], buckets: Sequence[Bucket], width_s: int, columns: Sequence[str]
) -> QuerySet[LedgerEntry, dict[str, Any]]:
    """Cached tokens count at most as their request's input, so that sums of parts are parts of the sum."""
    within = rows.filter(finished_at__gte=_moment(buckets[0].start), finished_at__lt=_moment(buckets[-1].end))
    start = Func(
        Value(timedelta(seconds=width_s)), F("finished_at"), Value(EPOCH), function="date_bin",
        output_field=DateTimeField(),
    )  # fmt: skip
    grouped: QuerySet[LedgerEntry, dict[str, Any]] = within.order_by().values(*columns, bucket=start).annotate(
        requests=Count("pk"), prompt=Sum("prompt_tokens"), cached=Sum(Least("cached_tokens", "prompt_tokens")),
        completion=Sum("completion_tokens"),
    ).order_by("bucket", *columns)  # fmt: skip
    return grouped


def _asked(query: QuerySet[LedgerEntry, dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the query, one more than are wanted, within the time it may take."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {TIMEOUT_MS}")
            return list(query[: MAX_GROUPS + 1])
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TooMuch(f"the sums took longer than {TIMEOUT_MS / 1000:.0f} s") from error
        raise


def _unfinished(found: Sequence[Mapping[str, Any]]) -> float:
    """The start of the bucket that was cut short, and with it all after it."""
    return found[-1]["bucket"].timestamp() if len(found) > MAX_GROUPS else float("inf")


def _sums(row: Mapping[str, Any], columns: Sequence[str]) -> Sums:
    return Sums(
        {column: row[column] for column in columns}, row["requests"],
        Tokens(int(row["prompt"]), int(row["cached"]), int(row["completion"])),
    )  # fmt: skip


def _floor(bucket: Bucket, width_s: int) -> int:
    return bucket.start // width_s * width_s


def _moment(unix_s: int) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)
