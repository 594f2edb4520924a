"""A job's story, one row per line. What the holder of a job says is taken as long as it holds it."""

from __future__ import annotations

import hashlib
from typing import Any

from appliance.training import lease
from appliance.training.models import JobEvent


def add_event(
    job_id: str, message: str, level: str = "info", data: dict[str, Any] | None = None, once: str | None = None
) -> None:
    """Add a line; one with `data` is a step's metrics. Of lines with the same `once` a job has one, the first."""
    line = {
        "job_id": job_id, "message": message, "level": level, "data": data,
        "type": "message" if data is None else "metrics",
    }  # fmt: skip
    if once is None:
        JobEvent.objects.create(**line)
    else:
        digest = hashlib.sha256(f"{job_id} {once}".encode()).hexdigest()[:24]
        JobEvent.objects.get_or_create(id=f"ftevent-{digest}", defaults=line)


def say(
    job_id: str,
    fence: int,
    message: str,
    level: str = "info",
    data: dict[str, Any] | None = None,
    once: str | None = None,
) -> None:
    """Add a line as the job's holder.

    Raises: LeaseLost.
    """
    with lease.holding(job_id, fence):
        add_event(job_id, message, level, data, once)


def say_once(job_id: str, message: str, same: str | None = None) -> None:
    """Add a line unless it is what was said last, or that began with `same`: figures in it may have moved."""
    last = JobEvent.objects.filter(job_id=job_id).order_by("-seq").values_list("message", flat=True).first()
    if last is None or not (last == message if same is None else last.startswith(same)):
        add_event(job_id, message)
