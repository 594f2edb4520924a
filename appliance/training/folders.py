"""Where a fine-tune's files lie."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings


def job_dir(job_id: str) -> Path:
    """Everything that the attempts at a job wrote."""
    return Path(settings.ENV.data_dir) / "jobs" / job_id


def attempt_dir(job_id: str, fence: int) -> Path:
    """The only place where one attempt writes."""
    return job_dir(job_id) / "attempts" / str(fence)


def attempts(job_id: str) -> list[Path]:
    """The folders of all attempts, the first one's first."""
    found = (path for path in job_dir(job_id).glob("attempts/*") if path.name.isdecimal())
    return sorted(found, key=lambda path: int(path.name))
