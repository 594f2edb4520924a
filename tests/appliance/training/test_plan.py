"""What a fine-tune will take, before it starts: told and kept, refused where it can't be, waited for where it can't be now."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from django.utils import timezone

from appliance.fleet.models import Device, DeviceOwner, Replica
from appliance.registry.models import ModelVersion
from appliance.training import attempt, jobs, lease, plan, training
from appliance.training.attempt import work_on
from appliance.training.devices import Leased, NoDevice
from appliance.training.errors import JobRefused
from appliance.training.events import add_event
from appliance.training.models import Dataset, Job, JobEvent, StoredFile
from appliance.training.plan import FREE_BYTES
from appliance.training.rooms import room_of, rooms
from finetune.job import JobStatus
from tests.appliance.training.cast import BASE, ROWS, Cast
from tests.finetune.train.shapes import SMALL, write_model

GB = 1_000_000_000
S = JobStatus


def device(number: int, gigabytes: float, kind: str = "cpu", **more: Any) -> Device:
    fields = {"kind": kind, "name": "A device", "memory_bytes": round(gigabytes * GB), "seen_at": timezone.now()}
    return Device.objects.create(id=f"{kind}:{number}", **{**fields, **more})


@pytest.fixture
def small(cast: Cast, tmp_path: Path) -> Cast:
    """The base is a model of 135M parameters, of which only the configuration lies there."""
    write_model(tmp_path / "small", SMALL)
    ModelVersion.objects.filter(pk=cast.base.pk).update(path=str(tmp_path / "small"))
    cast.base.refresh_from_db()
    return cast


def dataset(cast: Cast, folder: Path, rows: bytes = ROWS) -> StoredFile:
    """A cleaned file."""
    file = cast.file(status=StoredFile.Status.PROCESSED)
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "rows.jsonl").write_bytes(rows)
    Dataset.objects.create(file=file, kind="chat", path=str(folder), digest="ab" * 32, rows=3, report={})
    return file


def queued(cast: Cast, tmp_path: Path, **fields: Any) -> Job:
    return cast.job(S.QUEUED, training_file=dataset(cast, tmp_path / "rows", **fields))


def story(job: Job) -> list[str]:
    return list(JobEvent.objects.filter(job=job).order_by("seq").values_list("message", flat=True))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The devices on which training would have begun; it goes no further."""
    devices: list[str] = []

    def begin(_job: Job, _fence: int, _heart: object, leased: Leased, *_: object) -> NoReturn:
        devices.append(leased.id)
        raise NoDevice("enough for this test")

    monkeypatch.setattr(attempt, "train", begin)
    return devices


def test_the_plan_is_told_and_kept_before_training_begins(small: Cast, tmp_path: Path, begun: list[str]) -> None:
    device(0, 16)
    job = queued(small, tmp_path)
    work_on(job.pk)
    job.refresh_from_db()
    assert begun == ["cpu:0"]
    assert job.plan is not None
    memory = job.plan["memory"]
    assert memory["weights"] == 2 * 134_515_008
    assert memory["total"] == sum(size for part, size in memory.items() if part not in {"total", "available"})
    assert memory["available"] == round(14.4 * GB)
    assert job.plan["disk"]["dataset"] == len(ROWS)
    assert not job.plan["time"]["measured"]
    told = [line for line in story(job) if line.startswith("plan for cpu:0: ")]
    assert len(told) == 1
    assert "0.3 GB weights" in told[0]
    assert "no measurement yet" in told[0]
    assert story(job).index(told[0]) < story(job).index("training begins on cpu:0")


def test_former_fine_tunes_of_the_base_tell_how_long_it_takes(small: Cast, tmp_path: Path, begun: list[str]) -> None:
    device(0, 16)
    job = queued(small, tmp_path)
    work_on(job.pk)
    first = Job.objects.get(pk=job.pk).plan
    former = small.job(S.SUCCEEDED, plan=first, adapter=small.adapter())
    for number, rate in enumerate((3.0, 100.0, 120.0, 110.0)):
        add_event(former.pk, "step", data={"step": number, "tokens_per_s": rate})
    work_on(job.pk)
    job.refresh_from_db()
    assert job.plan is not None
    assert job.plan["time"]["measured"]
    assert job.plan["time"]["tokens_per_s"] == [88.0, 137.5]
    assert len(begun) == 2


def test_a_base_of_an_unknown_architecture_is_trained_without_a_plan_of_its_memory(
    cast: Cast, tmp_path: Path, begun: list[str]
) -> None:
    device(0, 1)
    job = queued(cast, tmp_path)
    work_on(job.pk)
    job.refresh_from_db()
    assert begun == ["cpu:0"]
    assert job.plan is not None
    assert job.plan["memory"] is None
    assert "not known for this architecture" in "\n".join(story(job))


def test_a_base_that_fits_no_device_is_refused_at_once(small: Cast) -> None:
    device(0, 0.5)
    device(0, 0.9, "nvidia")
    with pytest.raises(JobRefused) as caught:
        jobs.create(small.key, model=BASE, training_file=small.file().pk)
    assert (caught.value.param, caught.value.code) == ("model", "not_enough_memory")
    assert "weights" in caught.value.message
    assert "a smaller base" in caught.value.message
    assert not Job.objects.exists()


def test_a_base_that_may_fit_is_queued(small: Cast) -> None:
    device(0, 0.5)
    device(0, 24, "nvidia")
    assert jobs.create(small.key, model=BASE, training_file=small.file().pk).status == S.VALIDATING.value


def test_rows_too_long_for_any_device_fail_the_job_with_what_to_change(
    small: Cast, tmp_path: Path, begun: list[str]
) -> None:
    device(0, 3)
    job = queued(small, tmp_path, rows=b'{"text": "' + b"a" * 100_000 + b'"}\n')
    work_on(job.pk)
    job.refresh_from_db()
    assert (job.status, begun) == ("failed", [])
    assert job.error is not None
    assert job.error["code"] == "not_enough_memory"
    assert "activations" in job.error["message"]
    assert "shorter rows or a smaller batch_size" in job.error["message"]


def test_it_waits_for_memory_that_others_have_now(small: Cast, tmp_path: Path, begun: list[str]) -> None:
    share = device(0, 2, memory_used_bytes=2 * GB)
    other = device(1, 2, memory_used_bytes=2 * GB)
    third = device(2, 1, memory_used_bytes=GB)
    replica = Replica.objects.create(deployment=small.deployment, index=0, state="ready", devices=[other.id, third.id])
    for held in (other, third):
        DeviceOwner.objects.create(device_id=held.id, replica=replica)
    job = queued(small, tmp_path, rows=b'{"text": "' + b"a" * 600 + b'"}\n')
    for _ in range(2):
        work_on(job.pk)
    job.refresh_from_db()
    assert (job.status, job.lease_expires_at, begun) == ("queued", None, [])
    assert [line.partition(":")[0] for line in story(job)] == ["waiting for memory on its device"]
    assert "and the machine has 1.5 GB for it" in story(job)[0]
    assert not DeviceOwner.objects.filter(device_id=share.id).exists()
    DeviceOwner.objects.filter(device_id=other.id).delete()
    work_on(job.pk)
    assert begun


def test_it_waits_for_room_on_the_disk(
    small: Cast, tmp_path: Path, begun: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    device(0, 16)
    job = queued(small, tmp_path)
    free = [FREE_BYTES + 1000, FREE_BYTES + 2000, 100 * GB]
    usage = SimpleNamespace(disk_usage=lambda _path: SimpleNamespace(total=200 * GB, free=free[0]))
    monkeypatch.setattr(plan, "shutil", usage)
    work_on(job.pk)
    free.pop(0)
    work_on(job.pk)
    job.refresh_from_db()
    assert (job.status, job.failures, begun) == ("queued", 0, [])
    assert len(story(job)) == 1  # the moved figure is no news
    assert story(job)[0].startswith("waiting for room on the disk: it needs ")
    assert "checkpoints" in story(job)[0]
    free.pop(0)
    work_on(job.pk)
    assert begun == ["cpu:0"]


def test_a_disk_that_is_too_small_as_a_whole_fails_the_job(
    small: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device(0, 16)
    job = queued(small, tmp_path)
    usage = SimpleNamespace(disk_usage=lambda _path: SimpleNamespace(total=FREE_BYTES, free=FREE_BYTES))
    monkeypatch.setattr(plan, "shutil", usage)
    work_on(job.pk)
    job.refresh_from_db()
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "not_enough_disk"


def test_the_trainer_is_given_what_was_planned(small: Cast, tmp_path: Path) -> None:
    job = queued(small, tmp_path)
    run = plan.look_ahead(job, Dataset.objects.get(), jobs.lora_targets(small.base))
    assert lease.claim(job.pk) == 1
    folder = tmp_path / "1"
    folder.mkdir()
    spec = training._spec(job, folder, Leased("cpu:0", "cpu", 2, {}), Dataset.objects.get(), None)
    assert spec.epochs == run.epochs
    assert run.batch.row_tokens <= spec.max_length
    assert run.targets == spec.target_modules
    shutil.rmtree(training.job_dir(job.pk), ignore_errors=True)


@pytest.mark.usefixtures("db")
def test_a_card_has_its_memory_without_what_strangers_hold() -> None:
    device(0, 100, "nvidia", foreign=[{"pid": 7, "name": "other", "memory_bytes": 30 * GB}])
    room = room_of("nvidia:0")
    assert room is not None
    assert (room.available, room.at_most) == (62 * GB, 92 * GB)


@pytest.mark.usefixtures("db")
def test_the_machine_has_what_engines_leave_of_their_shares_or_do_not_use() -> None:
    device(0, 10, memory_used_bytes=9 * GB)
    device(1, 10, memory_used_bytes=None)
    DeviceOwner.objects.create(device_id="cpu:1", job_id="ftjob-other/1", expires_at=timezone.now())
    room = room_of("cpu:0")
    assert room is not None
    assert (room.available, room.at_most) == (8 * GB, 18 * GB)
    Device.objects.update(memory_used_bytes=2 * GB)
    again = room_of("cpu:0")
    assert again is not None
    assert again.available == 14 * GB


@pytest.mark.usefixtures("db")
def test_devices_of_other_machines_are_not_counted() -> None:
    device(0, 10)
    Device.objects.create(id="box-b/nvidia:0", kind="nvidia", name="far", memory_bytes=80 * GB, seen_at=timezone.now())
    assert [room.device for room in rooms()] == ["the machine"]
