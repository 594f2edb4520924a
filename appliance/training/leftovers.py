"""What stays on the disk when something is over: copies of a tenant's rows, checkpoints, bytes of deleted files.

Removing twice changes nothing; a kill in between leaves it to the next sweep.
"""

from __future__ import annotations

import shutil
from datetime import timedelta

from django.utils import timezone

from appliance.training import files
from appliance.training.folders import job_dir
from appliance.training.models import ErasureState, Job, StoredFile
from appliance.training.replay import REPLAY
from appliance.training.rows import SCORES, SPLIT
from finetune.job import TERMINAL

LOOK_BACK = timedelta(hours=1)


def clear_if_over(job_id: str) -> None:
    """Remove what only a running job needs, once it is over: the adapter, logs and events stay."""
    if not Job.objects.filter(pk=job_id, status__in=[status.value for status in TERMINAL]).exists():
        return
    folder = job_dir(job_id)
    stale = [
        folder / SPLIT,
        folder / SCORES,
        folder / REPLAY,
        *(folder.glob(f".{REPLAY}-*")),  # by a worker that was killed
        *(folder.glob("attempts/*/checkpoint-*")),
        *(folder.glob("attempts/*/scoring-*")),
    ]
    for path in [*stale, *folder.glob("attempts/*/home")]:
        shutil.rmtree(path, ignore_errors=True)


def sweep_leftovers() -> None:
    """Look after what ended lately, in case whoever should have removed it was killed."""
    since = timezone.now() - LOOK_BACK
    over = Job.objects.filter(finished_at__gt=since, lease_expires_at=None)
    for job_id in over.values_list("pk", flat=True):
        clear_if_over(job_id)
    under_way = [ErasureState.WAITING, ErasureState.REMOVING]  # an erasure removes its own, with digests
    for row in StoredFile.objects.filter(deleted_at__gt=since).exclude(erasure__state__in=under_way):
        files.drop_leftovers(row)
