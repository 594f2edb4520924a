"""Wake-ups: messages that say "look at this row now". Losing one loses nothing, because a sweep looks at all rows."""

from __future__ import annotations

import logging

from celery import Task
from kombu.exceptions import OperationalError

from appliance.training.celery import (
    HOME_QUEUE,
    queue_of,
)  # without our application, Celery would send to one of its own

log = logging.getLogger("coderack.training")

EXPIRES_S = 600.0  # of a box that is gone nobody takes them, and the rows are looked at every few seconds anyway


def wake_prepare(file_id: str) -> None:
    """Have a file made into a dataset soon."""
    from appliance.training.tasks import prepare_file  # noqa: PLC0415 - tasks import what wakes them

    _send(prepare_file, file_id)


def wake_job(job_id: str, box: str | None = None) -> None:
    """Have a job worked on soon, on a box; without one, where it can be now."""
    from appliance.training import placing  # noqa: PLC0415 - it, too, imports what is woken
    from appliance.training.tasks import train_job  # noqa: PLC0415 - tasks import what wakes them

    at = placing.where(job_id) if box is None else box
    _send(train_job, job_id, queue_of(at))


def _send(task: Task[[str], None], row_id: str, queue: str = HOME_QUEUE) -> None:
    try:
        task.apply_async((row_id,), retry=False, ignore_result=True, queue=queue, expires=EXPIRES_S)
    except OperationalError as error:
        log.warning("Redis takes no message (%s); the next sweep will find %s", error, row_id)
