"""A tenant sees how far the cleaning of a file is."""

from __future__ import annotations

from appliance.training import progress
from appliance.training.heartbeat import Heartbeat
from appliance.training.models import JobEvent, StoredFile
from tests.appliance.training.cast import Cast

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
    for _ in range(2):
        progress.tell(job.training_file, Heartbeat(job.pk, 1), TOLD)
    assert [event.message for event in JobEvent.objects.filter(job=job)] == [f"{job.training_file.filename}: {SAYS}"]
