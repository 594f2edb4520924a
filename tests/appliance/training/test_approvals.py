"""A second person decides, once: never who asked, never who is neither an owner nor an operator."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from appliance.registry.models import Adapter, AdapterState
from appliance.tenants.models import User
from appliance.training import adapters, approvals
from appliance.training.errors import ApprovalRefused
from appliance.training.models import Approval, Job, JobEvent
from finetune.job import JobStatus
from tests.appliance.training.cast import Cast
from tests.appliance.training.racing import at_once

S = AdapterState


def waiting(cast: Cast, asked: User | None, state: AdapterState = S.WAITING) -> Adapter:
    """An adapter of a succeeded job that this person asked for."""
    adapter = cast.adapter(state)
    cast.job(JobStatus.SUCCEEDED, adapter=adapter, requested_by=asked)
    return adapter


def refused(adapter: Adapter, user: User) -> str:
    with pytest.raises(ApprovalRefused) as caught:
        approvals.decide(adapter, user, approved=True)
    assert not Approval.objects.exists()
    assert caught.value.code == "approval_refused"
    return caught.value.message


@pytest.mark.parametrize("name", ["developer", "rival", "stranger"])
def test_who_is_neither_owner_nor_operator_is_refused(cast: Cast, name: str) -> None:
    adapter = waiting(cast, cast.owner)
    assert "Only operators" in refused(adapter, getattr(cast, name))
    assert Adapter.objects.get().state == S.WAITING


@pytest.mark.parametrize("name", ["owner", "operator"])
def test_who_asked_for_the_fine_tune_is_refused(cast: Cast, name: str) -> None:
    person = getattr(cast, name)
    assert "second person" in refused(waiting(cast, person), person)
    assert Adapter.objects.get().state == S.WAITING


def test_an_owner_who_left_the_company_is_refused(cast: Cast) -> None:
    adapter = waiting(cast, cast.owner)
    cast.other_owner.is_active = False
    cast.other_owner.save()
    assert "Only operators" in refused(adapter, cast.other_owner)


@pytest.mark.parametrize("name", ["other_owner", "operator"])
def test_a_second_person_approves_and_the_adapter_is_used(cast: Cast, name: str) -> None:
    adapter = waiting(cast, cast.owner)
    row = approvals.decide(adapter, getattr(cast, name), True, "looks fine")
    assert (row.user, row.approved, row.reason) == (getattr(cast, name), True, "looks fine")
    assert (adapter.state, Adapter.objects.get().state) == (S.ACTIVE, S.ACTIVE)
    assert Job.objects.get().status == JobStatus.SUCCEEDED.value
    assert JobEvent.objects.get().message == f"{adapter.name} was approved by {name}"


def test_a_rejection_fails_the_job_that_had_succeeded(cast: Cast) -> None:
    adapter = waiting(cast, cast.developer)
    approvals.decide(adapter, cast.owner, False, "it swears")
    job = Job.objects.get()
    assert (adapter.state, job.status) == (S.REJECTED, JobStatus.FAILED.value)
    assert job.error == {"code": "adapter_rejected", "message": "it swears", "param": None}


def test_a_rejection_without_a_reason_still_has_a_message(cast: Cast) -> None:
    approvals.decide(waiting(cast, cast.developer), cast.owner, False)
    error: Any = Job.objects.get().error
    assert error["message"]


@pytest.mark.parametrize("has_job", [True, False])
def test_where_nobody_knows_who_asked_only_an_operator_decides(cast: Cast, has_job: bool) -> None:
    adapter = waiting(cast, None) if has_job else cast.adapter()
    assert "an operator has to decide" in refused(adapter, cast.owner)
    approvals.decide(adapter, cast.operator, True)
    assert Adapter.objects.get().state == S.ACTIVE


@pytest.mark.parametrize("state", sorted(set(S) - {S.WAITING}))
def test_what_does_not_wait_can_not_be_decided(cast: Cast, state: AdapterState) -> None:
    adapter = waiting(cast, cast.developer, state)
    assert "nobody waits for a decision" in refused(adapter, cast.owner)
    assert Adapter.objects.get().state == state


def test_a_decision_looks_at_the_row_and_not_at_what_the_page_showed(cast: Cast) -> None:
    shown = waiting(cast, cast.developer)
    adapters.withdraw(Adapter.objects.get())
    assert "nobody waits" in refused(shown, cast.owner)
    assert Adapter.objects.get().state == S.WITHDRAWN


def test_of_two_people_who_decide_at_once_one_does(cast: Cast) -> None:
    for _ in range(10):
        adapter = waiting(cast, cast.developer)
        rows = [Adapter.objects.get(pk=adapter.pk) for _ in range(2)]
        done = at_once(
            partial(approvals.decide, rows[0], cast.owner, True),
            partial(approvals.decide, rows[1], cast.operator, False),
        )
        assert sorted(type(outcome).__name__ for outcome in done) == ["Approval", "ApprovalRefused"]
        approval = Approval.objects.get(adapter=adapter)
        job = Job.objects.get(adapter=adapter)
        assert Adapter.objects.get(pk=adapter.pk).state == (S.ACTIVE if approval.approved else S.REJECTED)
        assert job.status == ("succeeded" if approval.approved else "failed")
        assert JobEvent.objects.filter(job=job).count() == 1


def test_of_a_decision_and_a_withdrawal_at_once_the_adapter_shows_the_last_that_was_made(cast: Cast) -> None:
    for _ in range(8):
        adapter = waiting(cast, cast.developer)
        rows = [Adapter.objects.get(pk=adapter.pk) for _ in range(2)]
        decided, _ = at_once(partial(approvals.decide, rows[0], cast.owner, False), partial(adapters.withdraw, rows[1]))
        refused_too = isinstance(decided, ApprovalRefused)
        assert Adapter.objects.get(pk=adapter.pk).state == (S.WITHDRAWN if refused_too else S.REJECTED)
        assert Approval.objects.filter(adapter=adapter).exists() is not refused_too
