"""What the queue's messages mean. Each takes an id, looks at the row, and changes nothing when it comes twice."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

from celery import shared_task
from django.db.models import QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from appliance.fleet import boxes
from appliance.training import metrics, placing, turns
from appliance.training.attempt import work_on
from appliance.training.datasets import BeingMade, ensure_dataset
from appliance.training.erasing import sweep_erasures
from appliance.training.errors import AttemptFailed, BrokeOff
from appliance.training.leftovers import sweep_leftovers
from appliance.training.models import StoredFile
from appliance.training.wake import wake_job, wake_prepare

log = logging.getLogger("coderack.training")

MOST_FILES = 4  # a sweep
# A tenant with a thousand files must not keep everybody's fine-tunes waiting: what finds no place comes again when one is free.
CLEANED_AT_ONCE = 2
_cleaning = threading.BoundedSemaphore(CLEANED_AT_ONCE)
_in_hand: set[str] = set()  # being cleaned by this process
_last_begun: dict[str, float] = {}  # by tenant; since this process began


@shared_task
def prepare_file(file_id: str) -> None:
    """Clean an uploaded file into a dataset, so that its report is there before anybody trains on it."""
    file = StoredFile.objects.filter(pk=file_id, status=StoredFile.Status.UPLOADED, deleted_at=None).first()
    if file is None or not _cleaning.acquire(blocking=False):
        return
    _in_hand.add(file_id)
    _last_begun[str(file.tenant_id)] = time.monotonic()
    try:
        ensure_dataset(file)
        metrics.DATASETS.labels("made").inc()
    except (AttemptFailed, BrokeOff) as error:
        metrics.DATASETS.labels("failed").inc()
        log.warning("%s: %s", file_id, error)
    except BeingMade:
        log.info("%s is being made by somebody else", file_id)
        return  # whoever makes it wakes the next one
    finally:
        _in_hand.discard(file_id)
        _cleaning.release()
    for following in waiting_file():
        wake_prepare(following)


@shared_task
def train_job(job_id: str) -> None:
    """Work on a fine-tune until it is over, or until somebody else has to go on."""
    work_on(job_id)


@shared_task
def sweep() -> None:
    """Wake what nobody works on: messages are lost with Redis, workers are killed."""
    for job_id, box in placing.places(turns.in_turn()).items():
        wake_job(job_id, box)
    for file_id in unprepared():
        wake_prepare(file_id)
    sweep_erasures()
    sweep_leftovers()
    boxes.forget_gone()


def waiting_file() -> list[str]:
    """The file whose turn it is, if any waits. One whose cleaning broke off before is left to a sweep, later."""
    waiting = StoredFile.objects.filter(status=StoredFile.Status.UPLOADED, deleted_at=None, tries=0)
    return _in_turn(waiting.exclude(pk__in=list(_in_hand)))[:1]


def unprepared() -> list[str]:
    """Some files that nobody made a dataset of; those just uploaded have a message of their own on its way."""
    a_while_ago = timezone.now() - timedelta(seconds=30)
    waiting = StoredFile.objects.filter(status=StoredFile.Status.UPLOADED, deleted_at=None, created_at__lt=a_while_ago)
    return _in_turn(waiting)[:MOST_FILES]


def _in_turn(waiting: QuerySet[StoredFile]) -> list[str]:
    """The tenants' oldest files, then their second oldest; among tenants first the one for whom longest none was begun."""
    place = Window(RowNumber(), partition_by="tenant", order_by=("created_at", "pk"))
    first = waiting.annotate(place=place).filter(place__lte=MOST_FILES)
    rows = first.order_by("place", "created_at").values_list("place", "tenant", "pk")
    return [pk for _, _, pk in sorted(rows, key=lambda row: (row[0], _last_begun.get(str(row[1]), 0.0)))]
