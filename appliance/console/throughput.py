"""Tokens per second, now and over a window, from the pool's samples. How a chart of them is drawn is chart.py's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from appliance.console.windows import Window
from appliance.fleet.models import Sample

FRESH = timedelta(seconds=15)


@dataclass(frozen=True)
class Now:
    """The latest reading of all models together; `at` is None when none is fresh."""

    input_tps: float | None
    output_tps: float | None
    running: int | None
    waiting: int | None
    at: datetime | None


@dataclass(frozen=True)
class Point:
    """The mean of one model's samples over one step that begins at `at`."""

    model: str
    at: datetime
    input_tps: float
    output_tps: float


def now() -> Now:
    """Sum the newest fresh sample of each model."""
    fresh = Sample.objects.filter(at__gte=timezone.now() - FRESH)
    rows = list(fresh.order_by("model_name", "-at").distinct("model_name"))
    if not rows:
        return Now(None, None, None, None, None)
    return Now(
        sum(row.input_tps for row in rows),
        sum(row.output_tps for row in rows),
        sum(row.running for row in rows),
        sum(row.waiting for row in rows),
        max(row.at for row in rows),
    )


def history(window: Window, until: datetime) -> list[Point]:
    """The window's points, oldest first; a step without samples has none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT model_name, date_bin(make_interval(secs => %s), at, 'epoch') AS step, avg(input_tps), avg(output_tps)"
            " FROM fleet_sample WHERE at >= %s AND at < %s GROUP BY 1, 2 ORDER BY 2, 1",
            [window.step_s, until - window.span, until],
        )
        return [Point(*row) for row in cursor.fetchall()]
