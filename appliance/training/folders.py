"""Where a fine-tune's files lie."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings


def job_dir(job_id: str) -> Path:
    """Everything that the attempts at a job wrote."""
    return Path(settings.ENV.data_dir) / "jobs" / job_id
