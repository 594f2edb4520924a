"""What is over leaves no copies of a tenant's rows behind, whoever was killed before removing them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from appliance.fleet.models import DeviceOwner
from appliance.training import files, lease
from appliance.training.leftovers import clear_if_over, sweep_leftovers
from appliance.training.models import Job
from appliance.training.training import job_dir
from finetune.job import JobStatus
from tests.appliance.training.cast import Cast, expire

S = JobStatus
PASSING = (
    "split/train.jsonl",
    "replay/replay.jsonl",
    ".replay-x/replay.jsonl",
    "attempts/1/checkpoint-00000004/manifest.json",
    "attempts/2/scoring-x/spec.json",
    "attempts/1/.checkpoint-00000006/state.json",
    "attempts/1/.spec.json.77",
    "attempts/1/.adapter/adapter_config.json",
    "attempts/1/adapter/manifest.json",  # nobody took it in
    "attempts/2/home/.cache/x",
)
TAKEN = "attempts/2/adapter"
KEPT = (f"{TAKEN}/manifest.json", "attempts/1/trainer.log", "attempts/1/events.jsonl")


@pytest.fixture
def folder(cast: Cast, job: Job) -> Iterator[Path]:
    """A job's folder with everything that attempts write; the second one's adapter was taken in."""
    place = job_dir(job.pk)
    Job.objects.update(adapter=cast.adapter(path=str(place / TAKEN)))
    for name in (*PASSING, *KEPT):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("x")
    yield place
    shutil.rmtree(place)


def there(folder: Path) -> set[str]:
    return {name for name in (*PASSING, *KEPT) if (folder / name).exists()}


@pytest.mark.parametrize("status", [S.VALIDATING, S.QUEUED, S.RUNNING, S.PAUSED])
def test_a_job_that_may_go_on_keeps_everything(job: Job, folder: Path, status: JobStatus) -> None:
    Job.objects.update(status=status.value)
    clear_if_over(job.pk)
    assert there(folder) == {*PASSING, *KEPT}


@pytest.mark.parametrize("status", [S.SUCCEEDED, S.FAILED, S.CANCELLED])
def test_a_job_that_is_over_keeps_its_adapter_and_its_log(job: Job, folder: Path, status: JobStatus) -> None:
    Job.objects.update(status=status.value)
    for _ in range(2):
        clear_if_over(job.pk)
        assert there(folder) == set(KEPT)


def test_the_sweep_finds_what_a_killed_worker_left(job: Job, folder: Path) -> None:
    Job.objects.update(status=S.CANCELLED.value, finished_at=timezone.now())
    sweep_leftovers()
    assert there(folder) == set(KEPT)


def test_the_sweep_waits_for_a_holder_to_let_go(job: Job, folder: Path) -> None:
    soon = timezone.now() + timedelta(minutes=1)
    Job.objects.update(status=S.CANCELLED.value, finished_at=timezone.now(), lease_expires_at=soon)
    sweep_leftovers()
    assert there(folder) == {*PASSING, *KEPT}
    assert Job.objects.get().lease_expires_at == soon


def test_the_sweep_takes_a_killed_holders_leases_off_a_job_that_is_over(job: Job, folder: Path) -> None:
    assert lease.claim(job.pk) == 1
    ended = timezone.now() - timedelta(seconds=1)
    DeviceOwner.objects.create(device_id="cpu:1", job_id=lease.owner(job.pk, 1), expires_at=ended)
    DeviceOwner.objects.create(device_id="cpu:0", job_id="another/1", expires_at=ended + timedelta(minutes=1))
    Job.objects.update(status=S.SUCCEEDED.value, finished_at=ended, lease_expires_at=ended)
    sweep_leftovers()
    job.refresh_from_db()
    assert (job.lease_holder, job.lease_expires_at) == ("", None)
    assert [row.device_id for row in DeviceOwner.objects.all()] == ["cpu:0"]
    assert there(folder) == set(KEPT)


def test_the_sweep_leaves_the_lease_of_a_job_that_goes_on(job: Job) -> None:
    assert lease.claim(job.pk) == 1
    expire(job)
    sweep_leftovers()
    assert Job.objects.get().lease_holder


@pytest.mark.usefixtures("files_dir")
def test_the_sweep_removes_what_a_deleted_file_left(cast: Cast) -> None:
    gone, used = cast.file(deleted_at=timezone.now()), cast.file()
    for file in (gone, used):
        files.dataset_dir(file).mkdir(parents=True)
        files.path(file).parent.mkdir(parents=True, exist_ok=True)
        files.path(file).write_bytes(b"rows")
    sweep_leftovers()
    assert [files.path(file).exists() for file in (gone, used)] == [False, True]
    assert [files.dataset_dir(file).exists() for file in (gone, used)] == [False, True]


@pytest.mark.usefixtures("files_dir")
def test_bytes_that_another_row_needs_stay(cast: Cast) -> None:
    used = cast.file()
    gone = cast.file(sha256=used.sha256, deleted_at=timezone.now())
    files.path(used).parent.mkdir(parents=True, exist_ok=True)
    files.path(used).write_bytes(b"rows")
    files.drop_leftovers(gone)
    assert files.path(used).exists()
