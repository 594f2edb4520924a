"""A job ends once: no way leads out of an end, and of a cancellation and a result at the same moment one counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from appliance.registry.models import Adapter, AdapterState
from appliance.training import jobs, lease
from appliance.training.errors import JobRefused
from appliance.training.models import Job, JobEvent
from finetune.job import TERMINAL, TRANSITIONS, WORKABLE, JobStatus, may_move
from tests.appliance.training.cast import Cast
from tests.appliance.training.racing import at_once

S = JobStatus


def test_nothing_leads_out_of_a_terminal_state() -> None:
    assert {S.SUCCEEDED, S.FAILED, S.CANCELLED} == TERMINAL
    assert all(not TRANSITIONS[status] for status in TERMINAL)
    assert all(not may_move(status, to) for status in TERMINAL for to in S)


def test_every_state_has_its_row_and_every_other_one_leads_to_an_end() -> None:
    assert set(TRANSITIONS) == set(S)
    for status in set(S) - TERMINAL:
        assert may_move(status, S.CANCELLED)
        assert status not in TRANSITIONS[status]


def test_only_running_jobs_succeed_and_a_paused_one_is_not_worked_on() -> None:
    assert {status for status in S if may_move(status, S.SUCCEEDED)} == {S.RUNNING}
    assert set(S) - TERMINAL - WORKABLE == {S.PAUSED}


@pytest.mark.parametrize("status", sorted(set(S) - TERMINAL))
def test_a_job_that_is_not_over_can_be_cancelled(cast: Cast, status: JobStatus) -> None:
    row = jobs.cancel(cast.job(status))
    assert row.status == "cancelled"
    assert row.finished_at is not None
    assert JobEvent.objects.get().message == "cancelled by request"


@pytest.mark.parametrize("status", sorted(TERMINAL))
@pytest.mark.parametrize("act", [jobs.cancel, jobs.pause, jobs.resume])
def test_a_job_that_is_over_can_not_be_moved(cast: Cast, status: JobStatus, act: Callable[[Job], Job]) -> None:
    job = cast.job(status)
    with pytest.raises(JobRefused, match=job.pk) as caught:
        act(job)
    assert caught.value.param == "fine_tuning_job_id"
    assert Job.objects.get().status == status
    assert not JobEvent.objects.exists()


@pytest.mark.parametrize("status", sorted(WORKABLE))
def test_a_job_is_paused_and_resumed_into_the_queue(cast: Cast, status: JobStatus) -> None:
    job = cast.job(status)
    paused = jobs.pause(job)
    assert (paused.status, paused.finished_at) == ("paused", None)
    assert jobs.resume(job).status == "queued"


@pytest.mark.parametrize("status", sorted(WORKABLE))
def test_only_a_paused_job_can_be_resumed(cast: Cast, status: JobStatus) -> None:
    job = cast.job(status)
    with pytest.raises(JobRefused, match="not paused"):
        jobs.resume(job)
    assert Job.objects.get().status == status


def test_a_paused_job_can_not_be_paused_again(cast: Cast) -> None:
    with pytest.raises(JobRefused, match="is paused and can't be paused"):
        jobs.pause(cast.job(S.PAUSED))


def test_cancelling_rejects_the_adapter_that_was_being_tested(cast: Cast) -> None:
    candidate = cast.adapter(AdapterState.CANDIDATE)
    jobs.cancel(cast.job(S.RUNNING, adapter=candidate))
    assert Adapter.objects.get().state == AdapterState.REJECTED


def test_of_a_cancellation_and_an_end_at_once_exactly_one_counts(cast: Cast) -> None:
    for number in range(20):
        job = cast.job(S.RUNNING)
        assert lease.claim(job.pk) == 1
        end = (S.SUCCEEDED, S.FAILED)[number % 2]
        cancelled, ended = at_once(partial(jobs.cancel, job), partial(lease.move, job.pk, 1, S.RUNNING, end))
        assert ended is isinstance(cancelled, JobRefused)
        row = Job.objects.get(pk=job.pk)
        assert row.status == (end if ended else S.CANCELLED)
        assert JobEvent.objects.filter(job=job).exists() is not ended


def test_of_several_cancellations_at_once_one_is_made(cast: Cast) -> None:
    job = cast.job(S.RUNNING)
    done = at_once(*[lambda: jobs.cancel(job)] * 4)
    assert sorted(isinstance(outcome, JobRefused) for outcome in done) == [False, True, True, True]
    assert JobEvent.objects.count() == 1


def test_of_several_resumptions_at_once_one_is_made_even_when_a_worker_is_fast(cast: Cast) -> None:
    for _ in range(15):
        job = cast.job(S.PAUSED)

        def begin(job: Job = job) -> bool:
            """A worker that takes the job up the moment that it is queued."""
            return any(
                Job.objects.filter(pk=job.pk, status=S.QUEUED.value).update(status=S.RUNNING.value) for _ in range(60)
            )

        *_, began = at_once(partial(jobs.resume, job), partial(jobs.resume, job), begin)
        if began:
            assert Job.objects.get(pk=job.pk).status == S.RUNNING
        resumed = JobEvent.objects.filter(job=job, message="resumed by request").count()
        assert resumed == 1
