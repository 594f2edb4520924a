"""The table of moves, on a real PostgreSQL: what it has is done by the holder alone, what it has not is never done."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from django.db.models.functions import Now

from appliance.batches import lease
from appliance.batches.models import Batch
from appliance.batches.states import TERMINAL, TRANSITIONS, WORKABLE, BatchStatus, may_move, moment_of
from tests.appliance.api.callers import Caller
from tests.appliance.training.racing import at_once

EVERY = list(product(BatchStatus, BatchStatus))
_S = BatchStatus


@pytest.fixture
def batch(acme: Caller) -> Batch:
    return acme.batch()


def put(batch: Batch, status: BatchStatus) -> None:
    Batch.objects.filter(pk=batch.pk).update(status=status.value)


def test_the_table_has_every_state_and_each_open_one_leads_to_an_end() -> None:
    assert set(TRANSITIONS) == set(BatchStatus)
    assert {_S.COMPLETED, _S.FAILED, _S.EXPIRED, _S.CANCELLED} == TERMINAL
    for status in WORKABLE:
        reached = {status}
        while more := {following for one in reached for following in TRANSITIONS[one]} - reached:
            reached |= more
        assert reached & TERMINAL


@pytest.mark.parametrize(("seen", "wanted"), EVERY)
def test_a_holder_moves_along_the_table_only_and_the_moment_is_kept(
    batch: Batch, seen: BatchStatus, wanted: BatchStatus
) -> None:
    fence = lease.claim(batch.pk)
    assert fence is not None
    put(batch, seen)
    if not may_move(seen, wanted):
        with pytest.raises(ValueError, match="can't go"):
            lease.move(batch.pk, fence, seen, wanted)
        return
    assert not lease.move(batch.pk, fence + 1, seen, wanted)
    assert lease.move(batch.pk, fence, seen, wanted)
    assert not lease.move(batch.pk, fence, seen, wanted)
    moment = moment_of(wanted)
    assert moment is not None
    assert getattr(Batch.objects.get(pk=batch.pk), moment) is not None


def test_of_several_claimers_exactly_one_wins(batch: Batch) -> None:
    for number in range(1, 11):
        won = [fence for fence in at_once(*[lambda: lease.claim(batch.pk)] * 4) if fence is not None]
        assert won == [number]
        assert lease.unheld() == []
        lease.release(batch.pk, number)
    assert lease.unheld() == [(batch.pk, "acme")]


def test_a_holder_whose_lease_ran_out_writes_nothing_more(batch: Batch) -> None:
    old = lease.claim(batch.pk)
    assert old is not None
    Batch.objects.filter(pk=batch.pk).update(lease_expires_at=Now() - timedelta(seconds=1))
    new = lease.claim(batch.pk)
    assert new == old + 1
    assert not lease.renew(batch.pk, old)
    assert not lease.move(batch.pk, old, _S.VALIDATING, _S.IN_PROGRESS)
    lease.release(batch.pk, old)
    assert lease.claim(batch.pk) is None
    assert lease.renew(batch.pk, new)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_batch_that_is_over_is_nobodys(batch: Batch, status: BatchStatus) -> None:
    put(batch, status)
    assert lease.claim(batch.pk) is None
    assert lease.unheld() == []
