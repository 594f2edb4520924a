"""A job has one holder at most, on a real PostgreSQL: claims race, leases run out, and an old fence changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from appliance.training import jobs, lease
from appliance.training.models import Job
from finetune.job import TERMINAL, WORKABLE, JobStatus
from tests.appliance.training.cast import Cast, expire
from tests.appliance.training.racing import at_once

ROUNDS = 25
RESTING = sorted(TERMINAL | {JobStatus.PAUSED})


def row(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def test_of_several_claimers_exactly_one_wins_in_every_round(job: Job) -> None:
    for number in range(1, ROUNDS + 1):
        won = [fence for fence in at_once(*[lambda: lease.claim(job.pk)] * 4) if fence is not None]
        assert won == [number]
        lease.release(job.pk, number)


def test_of_several_claimers_of_an_expired_lease_exactly_one_wins(job: Job) -> None:
    assert lease.claim(job.pk) == 1
    for number in range(2, 12):
        expire(job)
        won = [fence for fence in at_once(*[lambda: lease.claim(job.pk)] * 3) if fence is not None]
        assert won == [number]


def test_a_held_job_is_not_claimed_before_its_lease_runs_out(job: Job) -> None:
    assert lease.claim(job.pk) == 1
    assert lease.claim(job.pk) is None
    assert row(job).fence == 1


def test_a_claim_after_the_lease_ran_out_raises_the_fence(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TTL_S", 0.3)
    first = lease.claim(job.pk)
    assert lease.claim(job.pk) is None
    time.sleep(0.4)
    second = lease.claim(job.pk)
    assert first is not None
    assert second is not None
    assert second > first


def test_a_renewed_lease_lasts_longer_than_its_first_term(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TTL_S", 0.4)
    assert lease.claim(job.pk) == 1
    for _ in range(4):
        time.sleep(0.15)
        assert lease.renew(job.pk, 1)
    assert lease.claim(job.pk) is None


def test_a_lease_lasts_its_time_by_the_databases_clock(job: Job) -> None:
    lease.claim(job.pk)
    left = Job.objects.filter(pk=job.pk).values_list("lease_expires_at", flat=True).get()
    assert left is not None
    now = Job.objects.annotate(now=lease.Now()).values_list("now", flat=True).get()  # type: ignore[attr-defined]
    assert timedelta(seconds=lease.TTL_S - 2) < left - now <= timedelta(seconds=lease.TTL_S)


def test_a_released_job_can_be_claimed_at_once_under_a_new_fence(job: Job) -> None:
    assert lease.claim(job.pk) == 1
    lease.release(job.pk, 1)
    assert lease.claim(job.pk) == 2


def test_a_job_that_does_not_exist_is_not_claimed(cast: Cast) -> None:
    assert lease.claim("ftjob-unknown") is None


@pytest.mark.parametrize("status", RESTING)
def test_a_job_that_is_over_or_paused_is_not_claimed(cast: Cast, status: JobStatus) -> None:
    job = cast.job(status)
    assert lease.claim(job.pk) is None
    assert (row(job).fence, row(job).lease_holder) == (0, "")


@pytest.mark.parametrize("status", sorted(WORKABLE))
def test_a_job_that_somebody_should_work_on_is_claimed(cast: Cast, status: JobStatus) -> None:
    assert lease.claim(cast.job(status).pk) == 1


OLD: dict[str, Callable[[Job], object]] = {
    "renew": lambda job: lease.renew(job.pk, 1),
    "release": lambda job: lease.release(job.pk, 1),
    "move": lambda job: lease.move(job.pk, 1, JobStatus.QUEUED, JobStatus.RUNNING, trained_tokens=7),
    "write": lambda job: lease.held(job.pk, 1).update(trained_tokens=7),
}


@pytest.mark.parametrize("name", sorted(OLD))
def test_an_old_fence_changes_nothing(job: Job, name: str) -> None:
    assert lease.claim(job.pk) == 1
    expire(job)
    assert lease.claim(job.pk) == 2
    before = Job.objects.filter(pk=job.pk).values().get()
    assert not OLD[name](job)
    assert Job.objects.filter(pk=job.pk).values().get() == before


@pytest.mark.parametrize("name", sorted(OLD))
def test_the_newest_fence_does_change_the_row(job: Job, name: str) -> None:
    assert lease.claim(job.pk) == 1
    before = Job.objects.filter(pk=job.pk).values().get()
    OLD[name](job)
    assert Job.objects.filter(pk=job.pk).values().get() != before


def test_a_move_from_a_state_that_the_job_has_left_is_refused(job: Job) -> None:
    assert lease.claim(job.pk) == 1
    assert lease.move(job.pk, 1, JobStatus.QUEUED, JobStatus.RUNNING)
    assert not lease.move(job.pk, 1, JobStatus.QUEUED, JobStatus.FAILED)
    assert row(job).status == JobStatus.RUNNING.value


@pytest.mark.parametrize("leave", [jobs.cancel, jobs.pause])
def test_a_lease_on_a_cancelled_or_paused_job_is_not_renewed(job: Job, leave: Callable[[Job], Job]) -> None:
    assert lease.claim(job.pk) == 1
    assert lease.renew(job.pk, 1)
    leave(job)
    assert not lease.renew(job.pk, 1)


@pytest.mark.parametrize("leave", [jobs.cancel, jobs.pause])
def test_a_holder_writes_nothing_into_a_cancelled_or_paused_job(job: Job, leave: Callable[[Job], Job]) -> None:
    assert lease.claim(job.pk) == 1
    leave(job)
    assert not lease.held(job.pk, 1).exists()
    assert not lease.held(job.pk, 1).update(trained_tokens=7)
    assert row(job).trained_tokens is None


def test_a_holder_lets_go_of_a_paused_job_so_that_it_resumes_at_once(job: Job) -> None:
    assert lease.claim(job.pk) == 1
    jobs.pause(job)
    lease.release(job.pk, 1)
    Job.objects.filter(pk=job.pk).update(status=JobStatus.QUEUED.value)
    assert lease.claim(job.pk) == 2


def test_the_sweep_sees_what_nobody_holds_oldest_first(cast: Cast) -> None:
    free, held, expired = cast.job(), cast.job(JobStatus.RUNNING), cast.job(JobStatus.RUNNING)
    validating = cast.job(JobStatus.VALIDATING)
    for status in RESTING:
        cast.job(status)
    for taken in (held, expired):
        assert lease.claim(taken.pk) == 1
    expire(expired)
    assert lease.unheld() == [free.pk, expired.pk, validating.pk]


def test_two_attempts_at_a_job_hold_devices_under_different_names(job: Job) -> None:
    assert lease.owner(job.pk, 1) != lease.owner(job.pk, 2)
