"""The worker's figures: fine-tunes as the rows have them, and each attempt with what came of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from appliance.tenants.acts import set_active
from appliance.training import lease, metrics
from appliance.training.attempt import work_on
from appliance.training.events import add_event
from appliance.training.heartbeat import Heartbeat
from appliance.training.models import Job, JobEvent
from finetune.job import JobStatus
from tests.appliance.training.cast import Cast


def shown() -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("coderack_worker_"), *sample.labels.values()): sample.value
        for metric in metrics._jobs()
        for sample in metric.samples
    }


def ended(outcome: str) -> float:
    return metrics.ENDED.labels(outcome)._value.get()


def test_fine_tunes_are_shown_by_state_and_absent_states_as_zero(cast: Cast) -> None:
    cast.job(JobStatus.QUEUED)
    cast.job(JobStatus.SUCCEEDED)
    cast.job(JobStatus.SUCCEEDED)
    found = shown()
    assert {state.value: found["jobs", state.value] for state in JobStatus} == {
        "queued": 1, "succeeded": 2, "validating_files": 0, "running": 0, "paused": 0, "failed": 0, "cancelled": 0,
    }  # fmt: skip


def test_the_most_silent_running_fine_tune_counts_and_no_paused_one(cast: Cast) -> None:
    long_ago = timezone.now() - timedelta(hours=2)
    assert shown()["job_silence_seconds",] == 0
    for status in (JobStatus.PAUSED, JobStatus.RUNNING):
        Job.objects.filter(pk=cast.job(status).pk).update(created_at=long_ago)
    assert shown()["job_silence_seconds",] == pytest.approx(7200, abs=60)
    running = Job.objects.get(status=JobStatus.RUNNING.value)
    add_event(running.pk, "step 1")
    JobEvent.objects.filter(job=running).update(created_at=timezone.now() - timedelta(minutes=1))
    assert shown()["job_silence_seconds",] == pytest.approx(60, abs=30)


def test_the_longest_wait_is_that_of_a_fine_tune_that_has_not_begun(cast: Cast) -> None:
    now = timezone.now()
    job = cast.job(JobStatus.QUEUED)
    Job.objects.filter(pk=job.pk).update(created_at=now - timedelta(hours=1))
    resumed = cast.job(JobStatus.QUEUED)
    Job.objects.filter(pk=resumed.pk).update(created_at=now - timedelta(days=9), started_at=now - timedelta(days=9))
    assert shown()["job_wait_seconds",] == pytest.approx(3600, abs=60)
    set_active(job.tenant_id, False)
    assert shown()["job_wait_seconds",] == 0


def test_an_attempt_that_has_to_wait_is_counted_as_such(cast: Cast, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    from appliance.training import attempt
    from appliance.training.devices import NoDevice

    def no_device(*_given: object) -> None:
        raise NoDevice("none")

    monkeypatch.setattr(attempt, "_waits_in_vain", lambda job_id: False)
    monkeypatch.setattr(attempt, "_go_on", no_device)
    before = (metrics.STARTED._value.get(), ended("waiting"), ended("done"))
    work_on(job.pk)
    assert (metrics.STARTED._value.get(), ended("waiting"), ended("done")) == (before[0] + 1, before[1] + 1, before[2])
    work_on("ftjob-unknown")
    assert metrics.STARTED._value.get() == before[0] + 1  # what nobody could claim is no attempt


def test_a_renewal_that_fails_is_counted_and_the_lease_is_not_lost(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    fence = lease.claim(job.pk)
    assert fence is not None
    heart = Heartbeat(job.pk, fence)

    def away(*_given: object) -> bool:
        raise OperationalError("away")

    monkeypatch.setattr(lease, "renew", away)
    before = metrics.RENEWALS_FAILED._value.get(), metrics.LEASES_LOST._value.get()
    heart._renew()
    assert (metrics.RENEWALS_FAILED._value.get(), metrics.LEASES_LOST._value.get()) == (before[0] + 1, before[1])
