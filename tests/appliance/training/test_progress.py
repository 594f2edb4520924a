"""A tenant sees how far the cleaning of a file is."""

from __future__ import annotations

import pytest
from django.db import OperationalError
from django.utils import timezone

from appliance.training import lease, progress
from appliance.training.errors import LeaseLost
from appliance.training.heartbeat import Heartbeat
from appliance.training.models import JobEvent, StoredFile
from tests.appliance.training.cast import Cast, expire
from tests.appliance.training.test_patience import end_our_connection

TOLD = {"event": "progress", "stage": "scanning", "rows": 1200, "characters": 34_500_000}
SAYS = "cleaning, step 2 of 3, looking for secrets: 1200 rows, 34.5 MB"


def test_it_stands_beside_the_files_status_until_the_file_is_cleaned(cast: Cast) -> None:
    file = cast.file()
    StoredFile.objects.filter(pk=file.pk).update(status=StoredFile.Status.UPLOADED)
    progress.tell(file, None, TOLD)
    assert StoredFile.objects.get(pk=file.pk).status_details == SAYS
    StoredFile.objects.filter(pk=file.pk).update(status=StoredFile.Status.ERROR, status_details="why")
    progress.tell(file, None, TOLD)
    assert StoredFile.objects.get(pk=file.pk).status_details == "why"


def test_it_is_told_to_the_fine_tune_that_waits_for_it(cast: Cast) -> None:
    job = cast.job()
    assert lease.claim(job.pk) == 1
    for _ in range(2):
        progress.tell(job.training_file, Heartbeat(job.pk, 1), TOLD)
    assert [event.message for event in JobEvent.objects.filter(job=job)] == [f"{job.training_file.filename}: {SAYS}"]


def test_of_one_step_the_events_tell_once_a_minute(cast: Cast) -> None:
    job = cast.job()
    assert lease.claim(job.pk) == 1
    heart, events = Heartbeat(job.pk, 1), JobEvent.objects.filter(job=job).order_by("seq")
    for rows in (1, 2, 3):
        progress.tell(job.training_file, heart, TOLD | {"rows": rows})
    assert [event.message for event in events] == [f"{job.training_file.filename}: {SAYS.replace('1200', '1')}"]
    events.update(created_at=timezone.now() - progress.EVENT_EVERY)
    progress.tell(job.training_file, heart, TOLD | {"rows": 4})
    progress.tell(job.training_file, heart, TOLD | {"stage": "writing"})
    assert [event.message.split(": ")[1] for event in events] == [
        "cleaning, step 2 of 3, looking for secrets", "cleaning, step 2 of 3, looking for secrets",
        "cleaning, step 3 of 3, writing",
    ]  # fmt: skip


def test_an_attempt_that_lost_its_job_tells_nothing(cast: Cast) -> None:
    job = cast.job()
    assert lease.claim(job.pk) == 1
    expire(job)
    assert lease.claim(job.pk) == 2
    with pytest.raises(LeaseLost):
        progress.tell(job.training_file, Heartbeat(job.pk, 1), TOLD)
    assert not JobEvent.objects.exists()


def test_a_connection_that_was_cut_costs_no_cleaning(cast: Cast) -> None:
    file = cast.file()
    StoredFile.objects.filter(pk=file.pk).update(status=StoredFile.Status.UPLOADED)
    with pytest.raises(OperationalError):
        end_our_connection()
    progress.tell(file, None, TOLD)
    assert StoredFile.objects.get(pk=file.pk).status_details == SAYS
