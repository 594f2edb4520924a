"""One attempt, up to the point where a device is needed: what it leaves behind when it fails, waits, or is not wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from appliance.registry.models import Adapter, AdapterState
from appliance.tenants.models import Tenant
from appliance.training import attempt, datasets, files, jobs, lease
from appliance.training.attempt import work_on
from appliance.training.heartbeat import Heartbeat
from appliance.training.models import Dataset, Job, JobEvent, StoredFile
from finetune.job import TERMINAL, JobStatus
from tests.appliance.training.cast import ROWS, Cast

S = JobStatus


def prepared(cast: Cast, folder: Path, rows: int = 3) -> StoredFile:
    """A file whose dataset was made before."""
    file = cast.file(status=StoredFile.Status.PROCESSED)
    (folder / "manifest.json").write_text("{}")
    (folder / "rows.jsonl").write_bytes(ROWS)
    Dataset.objects.create(file=file, kind="chat", path=str(folder), digest="ab" * 32, rows=rows, report={})
    return file


def story(job: Job) -> list[str]:
    return list(JobEvent.objects.filter(job=job).values_list("message", flat=True))


def error(job: Job) -> dict[str, Any]:
    assert job.error is not None
    return dict(job.error)


def break_off(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("a fault of ours")


def test_a_validated_job_is_queued_and_waits_for_a_device_without_holding_its_lease(cast: Cast, tmp_path: Path) -> None:
    job = cast.job(S.VALIDATING, training_file=prepared(cast, tmp_path))
    work_on(job.pk)
    job.refresh_from_db()
    assert (job.status, job.fence, job.lease_expires_at, job.lease_holder) == ("queued", 1, None, "")
    assert story(job)[0].startswith("files validated: 3 rows")
    assert story(job)[1:] == ["waiting for a free device"]


def test_a_job_that_waits_is_not_claimed_again_and_says_so_once(cast: Cast, tmp_path: Path) -> None:
    job = cast.job(S.QUEUED, training_file=prepared(cast, tmp_path))
    for _ in range(3):
        work_on(job.pk)
    job.refresh_from_db()
    assert job.fence == 0
    assert story(job) == ["waiting for a free device"]


@pytest.mark.usefixtures("files_dir")
def test_a_job_whose_file_can_not_be_used_fails_with_the_reason(cast: Cast) -> None:
    file = cast.file()
    files.path(file).parent.mkdir(parents=True, exist_ok=True)
    files.path(file).write_bytes(b"not json\n")
    job = cast.job(S.VALIDATING, training_file=file)
    work_on(job.pk)
    job.refresh_from_db()
    assert job.status == "failed"
    assert job.finished_at is not None
    assert error(job)["code"] == "invalid_training_file"
    assert "line 1" in error(job)["message"]
    assert JobEvent.objects.get(job=job).level == "error"


def test_a_job_of_which_cleaning_left_nothing_fails(cast: Cast, tmp_path: Path) -> None:
    job = cast.job(S.VALIDATING, training_file=prepared(cast, tmp_path, rows=0))
    work_on(job.pk)
    job.refresh_from_db()
    assert job.status == "failed"
    assert (error(job)["code"], error(job)["param"]) == ("invalid_training_file", "training_file")


def test_a_job_that_somebody_holds_is_left_alone(cast: Cast, tmp_path: Path) -> None:
    job = cast.job(S.VALIDATING, training_file=prepared(cast, tmp_path))
    assert lease.claim(job.pk) == 1
    before = Job.objects.filter(pk=job.pk).values().get()
    work_on(job.pk)
    assert Job.objects.filter(pk=job.pk).values().get() == before
    assert story(job) == []


@pytest.mark.parametrize("status", sorted(TERMINAL | {S.PAUSED}))
def test_a_job_that_is_over_or_paused_is_left_alone(cast: Cast, tmp_path: Path, status: JobStatus) -> None:
    job = cast.job(status, training_file=prepared(cast, tmp_path))
    work_on(job.pk)
    assert story(job) == []
    assert Job.objects.get().status == status


def test_an_unknown_job_is_left_alone(cast: Cast) -> None:
    work_on("ftjob-unknown")
    assert not JobEvent.objects.exists()


def test_a_job_that_is_cancelled_while_its_file_is_cleaned_stays_cancelled(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = cast.job(S.VALIDATING, training_file=prepared(cast, tmp_path))
    ensure = datasets.ensure_dataset

    def clean_slowly(file: StoredFile, heart: Heartbeat) -> Dataset:
        jobs.cancel(job)
        return ensure(file, heart)

    monkeypatch.setattr(attempt, "ensure_dataset", clean_slowly)
    work_on(job.pk)
    assert Job.objects.get().status == "cancelled"
    assert story(job) == ["cancelled by request"]


def test_a_fault_of_ours_leaves_the_job_to_the_next_attempt(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "ensure_dataset", break_off)
    job = cast.job(S.VALIDATING)
    work_on(job.pk)
    assert lease.unheld() == [job.pk]
    assert Job.objects.get().status == "validating_files"


def test_a_job_that_breaks_off_too_often_fails_and_its_candidate_is_loaded_no_longer(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "ensure_dataset", break_off)
    job = cast.job(S.VALIDATING, adapter=cast.adapter(AdapterState.CANDIDATE), failures=attempt.MAX_FAILURES - 2)
    work_on(job.pk)
    assert Job.objects.get().status == "validating_files"
    work_on(job.pk)
    job.refresh_from_db()
    assert (job.status, error(job)["code"]) == ("failed", "server_error")
    assert "a fault of ours" not in error(job)["message"]
    assert Adapter.objects.get().state == AdapterState.REJECTED


def test_waiting_is_no_failure_and_claims_nothing_more(cast: Cast, tmp_path: Path) -> None:
    job = cast.job(S.RUNNING, training_file=prepared(cast, tmp_path))
    for _ in range(5):
        work_on(job.pk)
    job.refresh_from_db()
    assert (job.fence, job.failures, job.status) == (0, 0, "running")


def test_a_deactivated_tenants_job_rests(cast: Cast, tmp_path: Path) -> None:
    job = cast.job(S.VALIDATING, training_file=prepared(cast, tmp_path))
    Tenant.objects.update(is_active=False)
    work_on(job.pk)
    assert lease.unheld() == []
    assert Job.objects.get().status == "validating_files"


def test_a_second_message_for_a_job_at_work_says_nothing(cast: Cast, tmp_path: Path) -> None:
    job = cast.job(S.RUNNING, training_file=prepared(cast, tmp_path))
    assert lease.claim(job.pk) == 1
    work_on(job.pk)
    assert story(job) == []
