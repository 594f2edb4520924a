"""Devices go round the tenants: by what each one's fine-tunes hold, then by what they had, for the weight of its plan."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from appliance.fleet import leases, loans
from appliance.fleet.models import Device
from appliance.tenants.models import Plan
from appliance.training import lease, placing, tasks, turns
from appliance.training.attempt import work_on
from appliance.training.events import add_event
from appliance.training.models import Job
from appliance.training.turns import Had, Waiting, order
from finetune.job import JobStatus
from tests.appliance.training import processes
from tests.appliance.training.cast import Cast
from tests.appliance.training.test_attempt import prepared, story

WEIGHTS = {"a": 100, "b": 100, "c": 300}
lines = st.lists(st.sampled_from("abc"), max_size=12).map(
    lambda tenants: [Waiting(f"{n}", tenant, WEIGHTS[tenant]) for n, tenant in enumerate(tenants)]
)
hads = st.dictionaries(st.sampled_from("abc"), st.builds(Had, st.integers(0, 3), st.floats(0, 1e6)))


@given(lines, hads)
def test_everybody_has_one_turn_and_a_tenants_own_keep_their_order(waiting: list[Waiting], had: dict[str, Had]) -> None:
    found = order(waiting, had)
    assert sorted(found) == sorted(one.job_id for one in waiting)
    for tenant in "abc":
        own = [one.job_id for one in waiting if one.tenant == tenant]
        assert [job for job in found if job in own] == own


@given(lines, hads)
def test_nobody_gets_a_device_while_a_waiting_tenant_holds_fewer_for_its_weight(
    waiting: list[Waiting], had: dict[str, Had]
) -> None:
    of = {one.job_id: one.tenant for one in waiting}
    held = Counter({tenant: had.get(tenant, Had()).devices for tenant in WEIGHTS})
    left = Counter(of.values())
    for job_id in order(waiting, had):
        tenant = of[job_id]
        least = min(held[other] / WEIGHTS[other] for other, count in left.items() if count)
        assert held[tenant] / WEIGHTS[tenant] == least
        held[tenant] += 1
        left[tenant] -= 1


def test_a_second_tenant_does_not_wait_for_all_of_the_first_ones() -> None:
    flood = [Waiting(f"a{n}", "a", 100) for n in range(3)]
    assert order([*flood, Waiting("b0", "b", 100)], {"a": Had(1, 60.0)}) == ["b0", "a0", "a1", "a2"]
    assert order([*flood, Waiting("b0", "b", 100)], {"b": Had(0, 60.0)}) == ["a0", "b0", "a1", "a2"]


def test_twice_the_weight_has_twice_the_devices() -> None:
    waiting = [Waiting(f"{tenant}{n}", tenant, weight) for n in range(6) for tenant, weight in (("a", 100), ("b", 200))]
    first = order(waiting, {})[:6]
    assert Counter(job[0] for job in first) == {"a": 2, "b": 4}


@pytest.fixture
def device() -> Device:
    """The only one."""
    return Device.objects.create(
        id="cpu:0", kind="cpu", name="cpu", memory_bytes=64 << 30, healthy=True, seen_at=timezone.now()
    )


@pytest.fixture
def flood(cast: Cast, tmp_path: Path) -> list[Job]:
    """Two fine-tunes of acme, whose former ones had an hour; then the rival's first one."""
    cast.job(JobStatus.SUCCEEDED, device_s=3600.0, started_at=timezone.now())
    file = prepared(cast, tmp_path)
    own = [cast.job(training_file=file) for _ in range(2)]
    return [*own, cast.job(training_file=file, tenant=cast.rivals, key=cast.rival_key)]


def test_the_sweep_wakes_the_tenant_first_that_had_less(flood: list[Job]) -> None:
    assert lease.unheld() == [job.pk for job in flood]
    assert turns.in_turn() == [flood[2].pk, flood[0].pk, flood[1].pk]
    before = len(processes.messages())
    tasks.sweep()
    sent = processes.messages()[: len(processes.messages()) - before]
    assert flood[2].pk.encode() in sent[-1], "Redis hands them out from the end"


def test_what_ran_long_ago_is_forgotten(flood: list[Job]) -> None:
    Job.objects.filter(status=JobStatus.SUCCEEDED.value).update(started_at=timezone.now() - timedelta(days=8))
    assert turns.in_turn() == [flood[0].pk, flood[2].pk, flood[1].pk]


def test_a_plan_of_more_weight_comes_first_again_sooner(cast: Cast, flood: list[Job], device: Device) -> None:
    assert leases.lease_device(f"{flood[0].pk}/1", 60) == device.id
    assert lease.claim(flood[0].pk)
    assert turns.in_turn() == [flood[2].pk, flood[1].pk]
    heavy = Plan.objects.create(name="heavy", weight=1000)
    assert leases.lease_device(f"{flood[2].pk}/1", 60) is None
    type(cast.acme).objects.filter(pk=cast.acme.pk).update(plan=heavy)
    loans_of_rivals = Device.objects.create(
        id="cpu:1", kind="cpu", name="cpu", memory_bytes=64 << 30, healthy=True, seen_at=timezone.now()
    )
    assert leases.lease_device(f"{flood[2].pk}/1", 60) == loans_of_rivals.id
    assert turns.in_turn() == [flood[1].pk, flood[2].pk]


@pytest.mark.usefixtures("device")
def test_who_is_not_next_leaves_the_free_device_and_asks_for_a_lent_one(cast: Cast, flood: list[Job]) -> None:
    cast.deployment.lends = True
    cast.deployment.save()
    assert [placing.num_ahead_at_home(job.pk) for job in flood] == [1, 2, 0]
    for job in flood[:2]:
        work_on(job.pk)
        job.refresh_from_db()
        assert (job.fence, story(job)) == (0, ["waiting for a free device"])
    assert loans.wishes() == [flood[0].pk, flood[1].pk]


@pytest.mark.usefixtures("device")
def test_one_whose_file_was_cleaned_meanwhile_does_not_overtake(cast: Cast, flood: list[Job]) -> None:
    late = cast.job(JobStatus.VALIDATING, training_file=flood[0].training_file)
    work_on(late.pk)
    late.refresh_from_db()
    assert (late.status, story(late)[1:]) == ("queued", ["waiting for a free device"])
    assert leases.any_free()


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("why", ["unsigned", "short", "broke off", "paused"])
def test_one_that_could_not_use_it_holds_nobody_up(cast: Cast, flood: list[Job], why: str) -> None:
    first = flood[2]
    if why == "unsigned":
        type(cast.rivals).objects.filter(pk=cast.rivals.pk).update(needs_signoff=True)
    elif why == "short":
        add_event(first.pk, "waiting for memory on its device: 3 GB of 1 GB")
    elif why == "broke off":
        Job.objects.filter(pk=first.pk).update(failures=1)
    else:
        Job.objects.filter(pk=first.pk).update(status=JobStatus.PAUSED.value)
    assert placing.num_ahead_at_home(flood[0].pk) == 0
