"""What stays on the disk when something is over: copies of a tenant's rows, checkpoints, bytes of deleted files.

Removing twice changes nothing; a kill in between leaves it to the next sweep.
"""

from __future__ import annotations

import shutil
from datetime import timedelta

from django.utils import timezone

from appliance.fleet import leases
from appliance.registry.models import Adapter
from appliance.training import files, lease
from appliance.training.folders import job_dir
from appliance.training.models import ErasureState, Job, StoredFile
from appliance.training.replay import REPLAY
from appliance.training.rows import SCORES, SPLIT
from finetune.job import TERMINAL
from finetune.train.methods import ADAPTER

LOOK_BACK = timedelta(hours=1)


def clear_if_over(job_id: str) -> None:
    """Remove what only a running job needs, once it is over: the adapter, logs and events stay."""
    if not Job.objects.filter(pk=job_id, status__in=[status.value for status in TERMINAL]).exists():
        return
    folder = job_dir(job_id)
    names = ("checkpoint-*", "scoring-*", "home", ADAPTER)
    stale = [
        *(folder / name for name in (SPLIT, SCORES, REPLAY)),
        *(path for name in names for path in folder.glob(f"attempts/*/{name}")),
        # what was half made when its process was killed: checkpoints, adapters, files on their way to a name
        *(path for place in (".*", "attempts/*/.*") for path in folder.glob(place)),
    ]
    taken = Adapter.objects.filter(job=job_id).values_list("path", flat=True).first()
    for path in stale:
        if path.is_file():
            path.unlink(missing_ok=True)
        elif str(path) != taken:  # an attempt that was killed may have left an adapter that nobody took in
            shutil.rmtree(path, ignore_errors=True)


def sweep_leftovers() -> None:
    """Look after what ended lately, in case whoever should have removed it was killed."""
    since = timezone.now() - LOOK_BACK
    lease.forget_ended()
    leases.forget_ended()
    over = Job.objects.filter(finished_at__gt=since, lease_expires_at=None)
    for job_id in over.values_list("pk", flat=True):
        clear_if_over(job_id)
    under_way = [ErasureState.WAITING, ErasureState.REMOVING]  # an erasure removes its own, with digests
    for row in StoredFile.objects.filter(deleted_at__gt=since).exclude(erasure__state__in=under_way):
        files.drop_leftovers(row)
