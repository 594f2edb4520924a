"""Where a waiting fine-tune goes on: training on any box that can, the rest at home."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from appliance.fleet import boxes, leases, loans
from appliance.fleet.boxes import Abilities
from appliance.fleet.inventory import save_inventory
from appliance.fleet.models import DeviceOwner
from appliance.registry.models import Adapter, AdapterState
from appliance.training import attempt, placing, tasks
from appliance.training.attempt import work_on
from appliance.training.events import add_event
from appliance.training.models import Job, StoredFile
from appliance.training.placing import HOME, Place, Waiting, place
from finetune.job import JobStatus
from inference.devices.info import DeviceInfo
from tests.appliance.training import processes
from tests.appliance.training.cast import Cast, make_scores
from tests.appliance.training.test_attempt import prepared, story

S = JobStatus
names = st.sampled_from(["", "beta", "gamma"])
waitings = st.lists(st.builds(Waiting, st.uuids().map(str), st.sampled_from(["", "x", "y"]), names), max_size=8)
others = st.lists(
    st.builds(Place, st.sampled_from(["beta", "gamma"]), st.integers(0, 3), st.frozensets(st.sampled_from("xy"))),
    unique_by=lambda it: it.box, max_size=2,
)  # fmt: skip


@given(waitings, others)
def test_no_box_gets_more_than_its_free_devices_and_none_that_it_can_not_train(
    waiting: list[Waiting], others: list[Place]
) -> None:
    found = place(waiting, others)
    assert list(found) == [job.job_id for job in waiting]
    for it in others:
        got = [job for job in waiting if found[job.job_id] == it.box]
        assert len(got) <= it.num_free
        assert all(job.base in it.bases and job.short_on != it.box for job in got)
    assert set(found.values()) <= {HOME, *(it.box for it in others)}


@given(waitings, others)
def test_nobody_is_sent_home_while_another_box_has_a_device_left_for_it(
    waiting: list[Waiting], others: list[Place]
) -> None:
    found = place(waiting, others)
    for job in waiting:
        if found[job.job_id] == HOME and job.base:
            for it in others:
                taken = sum(box == it.box for box in found.values())
                assert job.base not in it.bases or it.box == job.short_on or taken >= it.num_free


def test_the_first_ones_go_first() -> None:
    jobs = [Waiting("a", "x"), Waiting("b", "x"), Waiting("c", "x")]
    assert place(jobs, [Place("beta", 2, frozenset("x"))]) == {"a": "beta", "b": "beta", "c": HOME}


@pytest.fixture
def beta(cast: Cast) -> None:
    """A living box with a device that can train the cast's base."""
    told = DeviceInfo(id="cpu:0", kind="cpu", name="A CPU", memory_bytes=2**34)
    assert boxes.enter("beta", "w1", "host-b")
    assert boxes.report("beta", "w1", [told], Abilities((str(cast.base.pk),)))


@pytest.fixture
def on_beta(beta: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is that box' worker."""
    monkeypatch.setattr(settings, "ENV", replace(settings.ENV, box="beta"))


def ready(cast: Cast, folder: Path, status: JobStatus = S.QUEUED, **fields: Any) -> Job:
    return cast.job(status, training_file=prepared(cast, folder), **fields)


@pytest.mark.usefixtures("beta")
def test_a_job_that_only_has_to_be_trained_goes_to_the_other_box(cast: Cast, tmp_path: Path) -> None:
    assert placing.where(ready(cast, tmp_path).pk) == "beta"


@pytest.mark.usefixtures("beta")
def test_what_needs_the_home_box_stays_there(cast: Cast, tmp_path: Path) -> None:
    validating = ready(cast, tmp_path, S.VALIDATING)
    not_cleaned = cast.job(S.QUEUED)
    trained = ready(cast, tmp_path, S.RUNNING, adapter=cast.adapter(AdapterState.CANDIDATE))
    assert placing.where(trained.pk) == "beta", "its scores need a device and no engine"
    make_scores(trained, trained.adapter)  # type: ignore[arg-type]
    for job in (validating, not_cleaned, trained):
        assert placing.where(job.pk) == HOME
    assert placing.where("ftjob-unknown") == HOME


@pytest.mark.usefixtures("beta")
def test_a_job_that_a_replicas_device_is_kept_for_goes_on_at_home(cast: Cast, tmp_path: Path) -> None:
    job = ready(cast, tmp_path)
    DeviceOwner.objects.create(device_id="cpu:7", job_id=f"{job.pk}/lent", expires_at="2099-01-01T00:00Z")
    assert loans.is_reserved(job.pk)
    assert placing.where(job.pk) == HOME


@pytest.mark.usefixtures("beta")
def test_a_box_with_no_free_device_or_without_the_base_gets_nothing(cast: Cast, tmp_path: Path) -> None:
    job = ready(cast, tmp_path)
    leases.lease_device("other/1", 20.0, "beta")
    assert placing.where(job.pk) == HOME
    leases.release("other/1")
    assert placing.where(job.pk) == "beta"
    boxes.report("beta", "w1", [DeviceInfo("cpu:0", "cpu", "A CPU", 2**34)], Abilities((), "no engine slot"))
    assert placing.where(job.pk) == HOME


@pytest.mark.usefixtures("beta")
def test_a_box_that_had_too_little_memory_is_not_tried_again_at_once(cast: Cast, tmp_path: Path) -> None:
    job = ready(cast, tmp_path, box="beta", fence=1)
    add_event(job.pk, "waiting for memory on its device: 4 GB of 2 GB")
    assert placing.where(job.pk) == HOME
    add_event(job.pk, "waiting for a free device")
    assert placing.where(job.pk) == HOME, "what home said since does not make it forgotten"


@pytest.mark.usefixtures("beta")
def test_a_box_where_the_last_attempt_broke_off_leaves_the_next_one_to_others(cast: Cast, tmp_path: Path) -> None:
    assert placing.where(ready(cast, tmp_path, box="beta", fence=1, failures=1).pk) == HOME


@pytest.mark.usefixtures("beta")
def test_the_home_box_hands_a_job_on_once_its_files_are_cleaned(cast: Cast, tmp_path: Path) -> None:
    save_inventory([DeviceInfo(id="cpu:0", kind="cpu", name="A CPU", memory_bytes=2**34)], None)
    job = ready(cast, tmp_path, S.VALIDATING)
    work_on(job.pk)
    job.refresh_from_db()
    assert (job.status, job.lease_expires_at) == ("queued", None)
    assert [line.partition(":")[0] for line in story(job)] == ["files validated"]
    assert not DeviceOwner.objects.exists()
    assert job.pk.encode() in processes.messages("coderack.beta")[0]


@pytest.mark.usefixtures("beta")
def test_a_message_lies_in_the_queue_of_the_box_that_is_to_take_it(cast: Cast, tmp_path: Path) -> None:
    first = ready(cast, tmp_path)
    second = cast.job(S.QUEUED, training_file=first.training_file)
    before = {box: len(processes.messages(f"coderack.{box}")) for box in ("beta", "home")}
    tasks.sweep()
    sent = {box: processes.messages(f"coderack.{box}") for box in ("beta", "home")}
    assert {box: len(found) - before[box] for box, found in sent.items()} == {"beta": 1, "home": 1}
    assert first.pk.encode() in sent["beta"][0]
    assert second.pk.encode() in sent["home"][0]


@pytest.mark.usefixtures("on_beta")
def test_another_box_leaves_what_it_can_not_do_alone(cast: Cast, tmp_path: Path) -> None:
    for job in (ready(cast, tmp_path, S.VALIDATING), cast.job(S.QUEUED)):
        work_on(job.pk)
        job.refresh_from_db()
        assert (job.fence, job.box, story(job)) == (0, "", [])


@pytest.mark.usefixtures("on_beta")
def test_a_jobs_row_says_which_box_works_on_it_and_on_which_device(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ready(cast, tmp_path)
    seen: list[str] = []

    def train(job: Job, fence: int, heart: object, device: Any, *_: object) -> object:
        assert heart is not None
        row = Job.objects.get(pk=job.pk)
        seen.extend([row.box, device.id, device.kind])
        raise attempt.NoEngine("not now")

    monkeypatch.setattr(attempt, "train", train)
    monkeypatch.setattr(attempt.plan, "settle", lambda *_: None)
    monkeypatch.setattr(attempt.plan, "look_ahead", lambda *_: None)
    work_on(job.pk)
    assert seen == ["beta", "beta/cpu:0", "cpu"]
    assert not DeviceOwner.objects.exists()
    assert not any(job.pk.encode() in message for message in processes.messages("coderack.home")), "a sweep tries again"


@pytest.mark.usefixtures("on_beta")
def test_another_box_asks_for_no_replicas_device(cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ready(cast, tmp_path)
    cast.deployment.lends = True
    cast.deployment.save()
    monkeypatch.setattr(leases, "lease_device", lambda *_: None)  # somebody was faster
    monkeypatch.setattr(attempt.plan, "look_ahead", lambda *_: None)
    work_on(job.pk)
    assert loans.wishes() == []
    assert StoredFile.objects.count() == 1


@pytest.mark.usefixtures("on_beta")
def test_what_another_box_has_trained_and_scored_the_home_box_hears_of_at_once(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ready(cast, tmp_path)

    def train(job: Job, *_: object) -> Adapter:
        adapter = cast.adapter(AdapterState.CANDIDATE)
        Job.objects.filter(pk=job.pk).update(adapter=adapter)
        return adapter

    def score(job: Job, adapter: Adapter, *_: object) -> None:
        make_scores(job, adapter)

    monkeypatch.setattr(attempt, "_train_on_a_device", train)
    monkeypatch.setattr(attempt, "make_scores", score)
    work_on(job.pk)
    assert story(job)[-1] == "trained on beta: its checks are made on home"
    assert job.pk.encode() in processes.messages("coderack.home")[0]
    before = Job.objects.get(pk=job.pk).fence
    work_on(job.pk)
    assert Job.objects.get(pk=job.pk).fence == before, "its checks are not this box'"
