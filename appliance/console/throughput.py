"""Tokens per second and latencies, now and over a window, from the pool's samples. How they are drawn is chart.py's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Avg, Max, Min
from django.utils import timezone
from redis.exceptions import RedisError

from appliance.console.windows import Window
from appliance.fleet.models import Sample

FRESH = timedelta(seconds=15)
MINUTE = timedelta(minutes=1)
LIVE_STEP_S = 10  # a window with finer steps is read anew for every look
LONGEST_CACHED_S = 60


@dataclass(frozen=True)
class Now:
    """All models together. `at` is None, and everything else, when no sample is fresh.

    Throughput is that of the newest samples and adds up. Latencies are the last minute's, of the model that was slowest:
    the mean of its medians, the largest of its 99th percentiles; None when no request gave one. `idle` when in that
    minute none began and no engine was busy throughout.
    """

    input_tps: float | None = None
    output_tps: float | None = None
    running: int | None = None
    waiting: int | None = None
    ttft_p50_ms: float | None = None
    ttft_p99_ms: float | None = None
    tpot_p50_ms: float | None = None
    tpot_p99_ms: float | None = None
    idle: bool = True
    at: datetime | None = None


@dataclass(frozen=True)
class Point:
    """One model's samples over one step that begins at `at`: means, and the largest of the 99th percentiles."""

    model: str
    at: datetime
    input_tps: float
    output_tps: float
    ttft_p50_ms: float | None = None
    ttft_p99_ms: float | None = None
    tpot_p50_ms: float | None = None
    tpot_p99_ms: float | None = None


def now() -> Now:
    """The newest fresh sample of each model, and the last minute's latencies."""
    moment = timezone.now()
    rows = list(Sample.objects.filter(at__gte=moment - FRESH).order_by("model_name", "-at").distinct("model_name"))
    if not rows:
        return Now()
    models = Sample.objects.filter(at__gte=moment - MINUTE).order_by().values("model_name")
    found: list[Mapping[str, Any]] = [
        *models.annotate(
            ttft_p50=Avg("ttft_p50_ms"), ttft_p99=Max("ttft_p99_ms"), tpot_p50=Avg("tpot_p50_ms"),
            tpot_p99=Max("tpot_p99_ms"), least=Min("running"),
        )
    ]  # fmt: skip

    def largest(name: str) -> float | None:
        return max((row[name] for row in found if row[name] is not None), default=None)

    return Now(
        sum(row.input_tps for row in rows),
        sum(row.output_tps for row in rows),
        sum(row.running for row in rows),
        sum(row.waiting for row in rows),
        largest("ttft_p50"),
        largest("ttft_p99"),
        largest("tpot_p50"),
        largest("tpot_p99"),
        idle=largest("ttft_p99") is None and not largest("least"),
        at=max(row.at for row in rows),
    )


def history(window: Window, until: datetime) -> list[Point]:
    """The window's points, oldest first; a step without samples has none.

    A long window, whose last step changes little in seconds, is not read anew for every look.
    """
    if window.step_s <= LIVE_STEP_S:
        return _read(window, until)
    return [
        point for point in _kept(window, until) if point.at > until - window.span - timedelta(seconds=window.step_s)
    ]


def _kept(window: Window, until: datetime) -> list[Point]:
    kept_s = min(LONGEST_CACHED_S, window.step_s // 10)
    try:
        return cache.get_or_set(f"throughput:{window.name}", lambda: _read(window, until), kept_s) or []
    except RedisError:  # without Redis every look reads anew
        return _read(window, until)


def _read(window: Window, until: datetime) -> list[Point]:
    with transaction.atomic(), connection.cursor() as cursor:
        # PostgreSQL can't tell that there are few steps, and would sort a million rows on disk rather than hash them
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute(
            "SELECT model_name, date_bin(make_interval(secs => %s), at, 'epoch') AS step, avg(input_tps), avg(output_tps),"
            " avg(ttft_p50_ms), max(ttft_p99_ms), avg(tpot_p50_ms), max(tpot_p99_ms)"
            " FROM fleet_sample WHERE at >= %s AND at < %s GROUP BY 1, 2 ORDER BY 2, 1",
            [window.step_s, until - window.span, until],
        )
        return [Point(*row) for row in cursor.fetchall()]
