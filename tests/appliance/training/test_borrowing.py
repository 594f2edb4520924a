"""A fine-tune that finds no free device asks for one that a model lends, and gives it back when it is asked to."""

from __future__ import annotations

import pytest

from appliance.fleet import loans
from appliance.fleet.models import Deployment, DeviceOwner, DeviceWish, Replica
from appliance.registry.models import AdapterState
from appliance.training import jobs, lease, training
from appliance.training.attempt import work_on
from appliance.training.devices import NoDevice
from appliance.training.models import Job, JobEvent
from finetune.job import JobStatus
from tests.appliance.training.cast import Cast, make_scores

S = JobStatus


@pytest.fixture
def lends(cast: Cast) -> Deployment:
    Deployment.objects.update(lends=True)
    return cast.deployment


def lend_to(job: Job, deployment: Deployment, *, asked_back: bool = False) -> Replica:
    return Replica.objects.create(
        deployment=deployment, index=1, state="sleeping", devices=["cpu:1"], lent_to=job.pk, lent=True,
        asked_back=asked_back, reason="lent, and asked back: outside the window 22:00-06:00" if asked_back else "",
    )  # fmt: skip


@pytest.mark.usefixtures("lends")
@pytest.mark.parametrize("status", [S.QUEUED, S.RUNNING])
def test_it_asks_for_as_long_as_it_waits(cast: Cast, status: JobStatus) -> None:
    job = cast.job(status)
    work_on(job.pk)
    first = DeviceWish.objects.get()
    work_on(job.pk)
    again = DeviceWish.objects.get()
    assert again.job_id == job.pk
    assert again.since == first.since
    assert again.expires_at > first.expires_at
    assert Job.objects.get().fence == 0


def test_it_does_not_ask_where_nothing_is_lent(cast: Cast) -> None:
    work_on(cast.job().pk)
    assert not DeviceWish.objects.exists()


@pytest.mark.usefixtures("lends")
def test_one_that_is_trained_asks_for_a_device_until_its_scores_are_made(cast: Cast) -> None:
    adapter = cast.adapter(AdapterState.CANDIDATE)
    job = cast.job(S.RUNNING, adapter=adapter)
    work_on(job.pk)
    job.refresh_from_db()
    assert DeviceWish.objects.get().job_id == job.pk
    assert job.fence == 0
    DeviceWish.objects.all().delete()
    make_scores(job, adapter)
    work_on(job.pk)
    job.refresh_from_db()
    assert not DeviceWish.objects.exists()
    assert job.fence == 1, "it goes on to its checks"


@pytest.mark.usefixtures("lends")
@pytest.mark.parametrize("act", [jobs.pause, jobs.cancel])
def test_one_that_is_paused_or_cancelled_wants_none(cast: Cast, act: object) -> None:
    job = cast.job()
    work_on(job.pk)
    DeviceOwner.objects.create(device_id="cpu:1", job_id=f"{job.pk}/lent", expires_at="2099-01-01T00:00:00Z")
    assert callable(act)
    act(job)
    assert not DeviceWish.objects.exists()
    assert not DeviceOwner.objects.exists()


def test_it_gives_a_device_back_that_is_asked_for_and_waits_again(cast: Cast, lends: Deployment) -> None:
    job = cast.job(S.RUNNING)
    fence = lease.claim(job.pk)
    assert fence is not None
    replica = lend_to(job, lends)
    training._give_back_if_asked(job, fence)
    assert Job.objects.get().status == "running"
    loans.ask_back(str(replica.pk), "lent, and asked back: outside the window 22:00-06:00")
    with pytest.raises(NoDevice):
        training._give_back_if_asked(job, fence)
    assert Job.objects.get().status == "queued"
    assert "outside the window" in JobEvent.objects.get(job=job).message
