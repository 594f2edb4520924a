"""The heartbeat keeps a job while it is the attempt's, says so within seconds once it is not, and outlives the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError

from appliance.fleet import leases
from appliance.fleet.models import Device, DeviceOwner
from appliance.training import heartbeat, jobs, lease
from appliance.training.errors import LeaseLost
from appliance.training.heartbeat import Heartbeat
from appliance.training.models import Job
from tests.appliance.training.cast import Cast, expire
from tests.waiting import wait_until

LOST_WITHIN_S = 2.0 + 8.0  # a beat, and a slow machine


@pytest.fixture
def fence(job: Job) -> int:
    """The job is ours."""
    taken = lease.claim(job.pk)
    assert taken is not None
    return taken


@pytest.fixture
def stopping() -> Iterator[threading.Event]:
    """The worker's own stop, taken back after the test."""
    yield heartbeat.stopping
    heartbeat.stopping.clear()


def taken_by_another(job: Job) -> None:
    expire(job)
    assert lease.claim(job.pk) is not None


LOSSES: list[Callable[[Job], object]] = [jobs.cancel, jobs.pause, taken_by_another]


@pytest.mark.parametrize("lose", LOSSES)
def test_a_lost_job_is_told_within_seconds_and_once(job: Job, fence: int, lose: Callable[[Job], object]) -> None:
    told: list[float] = []
    with Heartbeat(job.pk, fence) as heart:
        heart.when_lost(lambda: told.append(time.monotonic()))
        heart.check()
        lose(job)
        lost_at = time.monotonic()
        wait_until(lambda: told, timeout_s=10)
        with pytest.raises(LeaseLost, match=job.pk):
            heart.check()
        time.sleep(1.2)  # a further beat
    assert told[0] - lost_at < LOST_WITHIN_S
    assert len(told) == 1


def test_a_job_that_beats_stays_the_attempts_beyond_the_leases_time(
    job: Job, fence: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "TTL_S", 2.0)
    with Heartbeat(job.pk, fence) as heart:
        for _ in range(7):
            time.sleep(0.5)
            assert lease.claim(job.pk) is None
        heart.check()


def test_after_the_last_beat_the_lease_is_left_to_run_out(job: Job, fence: int) -> None:
    with Heartbeat(job.pk, fence):
        pass
    before = Job.objects.get().lease_expires_at
    time.sleep(1.3)
    assert Job.objects.get().lease_expires_at == before


def test_the_beat_renews_the_attempts_device_too(job: Job, fence: int) -> None:
    Device.objects.create(id="cpu:0", kind="cpu", name="cpu", memory_bytes=1, seen_at=job.created_at)
    assert leases.lease_device(lease.owner(job.pk, fence), 5.0) == "cpu:0"
    first = DeviceOwner.objects.get().expires_at
    with Heartbeat(job.pk, fence):
        wait_until(lambda: DeviceOwner.objects.get().expires_at != first, timeout_s=10)


def test_errors_of_the_database_lose_nothing(job: Job, fence: int, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []
    renew = lease.renew

    def away_twice(*args: Any) -> bool:
        beats.append(1)
        if len(beats) <= 2:
            raise OperationalError("the database is being started again")
        return renew(*args)

    monkeypatch.setattr(lease, "renew", away_twice)
    before = Job.objects.get().lease_expires_at
    with Heartbeat(job.pk, fence) as heart:
        wait_until(lambda: len(beats) >= 4, timeout_s=15)
        heart.check()
    assert Job.objects.get().lease_expires_at != before


def test_a_cut_connection_loses_nothing(job: Job, fence: int) -> None:
    from django.db import connection

    with Heartbeat(job.pk, fence) as heart:
        before = Job.objects.get().lease_expires_at
        wait_until(lambda: Job.objects.get().lease_expires_at != before, timeout_s=10)
        with connection.cursor() as cursor:  # every other one, the heartbeat's among them
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        before = Job.objects.get().lease_expires_at
        wait_until(lambda: Job.objects.get().lease_expires_at != before, timeout_s=10)
        heart.check()


def test_who_asks_to_be_told_after_the_loss_is_told_at_once(job: Job, fence: int) -> None:
    told: list[str] = []
    with Heartbeat(job.pk, fence) as heart:
        jobs.cancel(job)
        wait_until(lambda: heart.is_lost, timeout_s=10)
        time.sleep(0.1)
        heart.when_lost(lambda: told.append("late"))
        assert told == ["late"]


def test_who_is_no_longer_interested_is_not_told(job: Job, fence: int) -> None:
    told: list[str] = []
    with Heartbeat(job.pk, fence) as heart:
        heart.when_lost(lambda: told.append("gone"))
        heart.when_lost(None)
        jobs.cancel(job)
        wait_until(lambda: heart.is_lost, timeout_s=10)
        time.sleep(0.2)
    assert told == []


@pytest.mark.parametrize("end", ["the job is lost", "the worker ends"])
def test_waiting_ends_when_the_attempt_has_to_stop(job: Job, fence: int, stopping: threading.Event, end: str) -> None:
    with Heartbeat(job.pk, fence) as heart:
        threading.Timer(0.2, stopping.set if end == "the worker ends" else lambda: taken_away(job)).start()
        began = time.monotonic()
        with pytest.raises(LeaseLost):
            heart.sleep(20)
        assert time.monotonic() - began < 0.2 + LOST_WITHIN_S


def taken_away(job: Job) -> None:
    from django.db import connections

    Job.objects.filter(pk=job.pk).update(fence=99)
    connections.close_all()


def test_waiting_without_a_loss_lasts_as_long_as_asked(job: Job, fence: int) -> None:
    with Heartbeat(job.pk, fence) as heart:
        began = time.monotonic()
        heart.sleep(0.3)
        assert time.monotonic() - began >= 0.3


def test_a_worker_that_ends_stops_its_attempts_and_leaves_the_job_to_the_next(
    job: Job, fence: int, stopping: threading.Event
) -> None:
    told: list[str] = []
    with Heartbeat(job.pk, fence) as heart:
        heart.when_lost(lambda: told.append("stop"))
        stopping.set()
        wait_until(lambda: told, timeout_s=10)
        with pytest.raises(LeaseLost):
            heart.check()
    assert Job.objects.get().status == "queued"


def test_a_job_counts_the_seconds_for_which_it_holds_a_device(
    cast: Cast, job: Job, fence: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.2)
    device = Device.objects.create(
        id="cpu:0", kind="cpu", name="cpu", memory_bytes=1 << 34, seen_at=cast.acme.created_at
    )
    owner = lease.owner(job.pk, fence)
    with Heartbeat(job.pk, fence):
        time.sleep(1.0)
        assert Job.objects.get().device_s == 0.0
        assert leases.lease_device(owner, 60) == device.id
        began = time.monotonic()
        wait_until(lambda: Job.objects.get().device_s > 1.0, timeout_s=10)
        held = time.monotonic() - began
        leases.release(owner)
        time.sleep(0.5)
        counted = Job.objects.get().device_s
        time.sleep(1.0)
    assert Job.objects.get().device_s == counted <= held + 0.8  # a beat more, at most, on either side
