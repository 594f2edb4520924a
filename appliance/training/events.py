"""A job's story, one row per line."""

from __future__ import annotations

from typing import Any

from appliance.training.models import JobEvent


def add_event(job_id: str, message: str, level: str = "info", data: dict[str, Any] | None = None) -> None:
    """Add a line; one with `data` is a step's metrics."""
    JobEvent.objects.create(
        job_id=job_id, message=message, level=level, data=data, type="message" if data is None else "metrics"
    )


def say_once(job_id: str, message: str, same: str | None = None) -> None:
    """Add a line unless it is what was said last, or that began with `same`: figures in it may have moved."""
    last = JobEvent.objects.filter(job_id=job_id).order_by("-seq").values_list("message", flat=True).first()
    if last is None or not (last == message if same is None else last.startswith(same)):
        add_event(job_id, message)
