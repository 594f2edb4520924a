"""Wake-ups: messages that say "look at this row now". Losing one loses nothing, because a sweep looks at all rows."""

from __future__ import annotations

import logging

from celery import Task
from kombu.exceptions import OperationalError

import appliance.training.celery  # noqa: F401 - without our application, Celery would send to one of its own

log = logging.getLogger("coderack.training")


def wake_prepare(file_id: str) -> None:
    """Have a file made into a dataset soon."""
    from appliance.training.tasks import prepare_file  # noqa: PLC0415 - tasks import what wakes them

    _send(prepare_file, file_id)


def wake_job(job_id: str) -> None:
    """Have a job worked on soon."""
    from appliance.training.tasks import train_job  # noqa: PLC0415 - tasks import what wakes them

    _send(train_job, job_id)


def _send(task: Task[[str], None], row_id: str) -> None:
    try:
        task.apply_async((row_id,), retry=False, ignore_result=True)
    except OperationalError as error:
        log.warning("Redis takes no message (%s); the next sweep will find %s", error, row_id)
