"""On which box a waiting fine-tune goes on: its training wherever a device is free, all the rest on the home box.

The row is the truth. A place that turns out taken costs a message, and the next sweep finds another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from django.db.models.functions import Now

from appliance.fleet import boxes, leases, loans
from appliance.fleet.models import Box
from appliance.registry.models import AdapterState
from appliance.training import signing, turns
from appliance.training.models import Dataset, Job, JobEvent
from appliance.training.proof import has_scores
from finetune.job import JobStatus

HOME = ""
TRIED_AGAIN = timedelta(minutes=5)  # where there was too little memory or disk
SHORT = ("waiting for memory", "waiting for room")


class Elsewhere(Exception):
    """Another box has a device for the training."""

    code = "elsewhere"
    permanent = False


@dataclass(frozen=True)
class Waiting:
    """A job. `base`: of one whose next step needs a device and nothing else, else "".

    `short_on`: the box where it lately found too little memory or disk, or where its last attempt broke off.
    """

    job_id: str
    base: str = ""
    short_on: str | None = None

    @property
    def takes_one_at_home(self) -> bool:
        """Whether it would begin on a device of the home box as soon as it got one."""
        return bool(self.base) and self.short_on != HOME


@dataclass(frozen=True)
class Place:
    """A box beside the home box: how many of its devices are free, and which model versions it can train."""

    box: str
    num_free: int
    bases: frozenset[str]


def place(waiting: Sequence[Waiting], others: Iterable[Place]) -> dict[str, str]:
    """Each job's box, the first job first. Other boxes come before the home box, whose devices engines may want."""
    left = list(others)
    found: dict[str, str] = {}
    for job in waiting:
        fits = (n for n, it in enumerate(left) if it.num_free > 0 and job.base in it.bases and it.box != job.short_on)
        number = next(fits, None)
        found[job.job_id] = HOME if number is None else left[number].box
        if number is not None:
            left[number] = replace(left[number], num_free=left[number].num_free - 1)
    return found


def places(job_ids: Sequence[str]) -> dict[str, str]:
    """Where jobs that nobody holds go on now, in their order."""
    others = [_place(box) for box in boxes.living()]
    if not others:
        return dict.fromkeys(job_ids, HOME)
    return place([_waiting(job_id) for job_id in job_ids], others)


def where(job_id: str) -> str:
    """Where one job goes on now, those before it placed first."""
    return places([*turns.ahead_of(job_id), job_id])[job_id] if boxes.living() else HOME


def num_ahead_at_home(job_id: str) -> int:
    """How many jobs wait for a device of the home box and come before one. Those that lately broke off there, or found too
    little memory or disk, hold nobody up."""
    ahead = turns.ahead_of(job_id)
    waiting = {job_id: _waiting(job_id) for job_id in ahead}
    found = place(list(waiting.values()), [_place(box) for box in boxes.living()])
    return sum(box == HOME and waiting[job_id].takes_one_at_home for job_id, box in found.items())


def leave_to_others(job_id: str) -> None:
    """What the home box asks before it trains.

    Raises: Elsewhere.
    """
    if not boxes.here() and where(job_id) != HOME:
        raise Elsewhere(job_id)


def may_go_on_here(job_id: str) -> bool:
    """Whether this box, which is not the home box, is a place for the job."""
    return where(job_id) == boxes.here()


def _place(box: Box) -> Place:
    return Place(box.pk, leases.num_free(box.pk), frozenset(box.bases))


def _waiting(job_id: str) -> Waiting:
    rows = Job.objects.select_related("tenant", "adapter", "training_file", "validation_file")
    job = rows.filter(pk=job_id, status__in=(JobStatus.QUEUED.value, JobStatus.RUNNING.value)).first()
    if job is None or not _needs_only_a_device(job):
        return Waiting(job_id)
    return Waiting(job_id, str(job.base_id), job.box if job.failures or _found_too_little(job) else None)


def _needs_only_a_device(job: Job) -> bool:
    """Its files are cleaned and signed off, no replica's device is kept for it, and it is not trained and scored yet."""
    if job.adapter is not None:
        return job.adapter.state == AdapterState.CANDIDATE and not has_scores(job, job.adapter) and not _reserved(job)
    files = {job.training_file_id, job.validation_file_id} - {None}
    cleaned = Dataset.objects.filter(file__in=files).count() == len(files)
    return cleaned and not signing.unsigned(job) and not _reserved(job)


def _reserved(job: Job) -> bool:
    return loans.is_reserved(job.pk)


def _found_too_little(job: Job) -> bool:
    last = JobEvent.objects.filter(job=job, created_at__gt=Now() - TRIED_AGAIN).order_by("-seq")
    told = last.values_list("message", flat=True)[:3]  # what the other boxes said since is among them
    return any(message.startswith(SHORT) for message in told)
