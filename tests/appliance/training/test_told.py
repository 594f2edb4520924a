"""A job's story: each step, validation and checkpoint once, whoever was killed before telling it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.training import lease, told
from appliance.training.errors import LeaseLost
from appliance.training.folders import attempt_dir, attempts, job_dir
from appliance.training.models import Checkpoint, Job, JobEvent
from finetune.train import checkpoints
from tests.appliance.training.cast import expire


@pytest.fixture
def fence(job: Job) -> Iterator[int]:
    """The job is ours; what it wrote goes with the test."""
    taken = lease.claim(job.pk)
    assert taken is not None
    yield taken
    shutil.rmtree(job_dir(job.pk), ignore_errors=True)


def step(number: int, loss: float = 2.0) -> dict[str, Any]:
    return {
        "event": "step", "step": number, "loss": loss, "learning_rate": 0.001, "tokens_per_s": 9.0, "epoch": 1,
    }  # fmt: skip


def keep(job: Job, fence: int, *events: dict[str, Any], torn: str = "") -> Path:
    """What the trainer of an attempt kept."""
    folder = attempt_dir(job.pk, fence)
    folder.mkdir(parents=True)
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + torn)
    return folder


def steps(job: Job) -> list[int]:
    rows = JobEvent.objects.filter(job=job, type="metrics", data__has_key="train_loss").order_by("seq")
    return [data["step"] for data in rows.values_list("data", flat=True) if data]


def test_what_is_told_twice_is_in_the_story_once_and_the_first_telling_stands(job: Job, fence: int) -> None:
    started = {"event": "started", "steps_total": 8, "resumed_step": 0}
    for event in (started, started, step(1, 2.0), step(1, 3.0), {"event": "validation", "step": 1, "loss": 1.0}):
        told.take_in(job.pk, fence, event)
    messages = JobEvent.objects.filter(job=job).order_by("seq").values_list("message", flat=True)
    assert list(messages) == [
        "the trainer begins with 8 steps", "step 1: loss 2.0000", "step 1: validation loss 1.0000",
    ]  # fmt: skip


def test_what_a_killed_worker_did_not_read_is_taken_in_up_to_the_checkpoint(job: Job, fence: int) -> None:
    told.take_in(job.pk, fence, step(1))
    folder = keep(
        job, fence, step(1), step(2), {"event": "checkpoint", "step": 2, "path": "/c2"}, step(3), step(4), step(5),
        torn='{"event": "step", "st',
    )  # fmt: skip
    told.catch_up(job.pk, fence, checkpoints.directory(folder, 4))
    assert steps(job) == [1, 2, 3, 4]
    found = Checkpoint.objects.filter(job=job).order_by("step").values_list("step", "path")
    assert list(found) == [(2, "/c2"), (4, str(checkpoints.directory(folder, 4)))]


def test_attempts_are_read_in_their_order(job: Job) -> None:
    for fence, events in ((2, (step(1), step(2), step(3))), (10, (step(3), step(4)))):
        keep(job, fence, *events)
        Job.objects.filter(pk=job.pk).update(fence=fence)
    assert [path.name for path in attempts(job.pk)] == ["2", "10"]
    told.catch_up(job.pk, 10, checkpoints.directory(attempt_dir(job.pk, 10), 4))
    assert steps(job) == [1, 2, 3, 4]
    shutil.rmtree(job_dir(job.pk))


@pytest.mark.parametrize(
    "event",
    [
        {"event": "started", "steps_total": 8},
        step(1),
        {"event": "validation", "step": 1, "loss": 1.0},
        {"event": "checkpoint", "step": 1, "path": "/c"},
    ],
)
def test_an_attempt_that_lost_the_job_tells_nothing(job: Job, fence: int, event: dict[str, Any]) -> None:
    expire(job)
    assert lease.claim(job.pk) == fence + 1
    with pytest.raises(LeaseLost):
        told.take_in(job.pk, fence, event)
    assert not JobEvent.objects.filter(job=job).exists()
    assert not Checkpoint.objects.exists()


def test_a_new_checkpoint_forgives_what_broke_off_before_and_a_known_one_does_not(job: Job, fence: int) -> None:
    for step_done, failures in ((2, 0), (2, 3), (4, 0)):
        Job.objects.update(failures=3)
        told.take_in(job.pk, fence, {"event": "checkpoint", "step": step_done, "path": "/c"})
        assert Job.objects.get().failures == failures
