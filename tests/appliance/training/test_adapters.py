"""Adapters move only along their table, once each, and have names that say whose they are."""

from __future__ import annotations

import re
from functools import partial
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.fleet.models import AdapterLoad, EngineLife, Replica
from appliance.registry.models import ADAPTER_MOVES, LOADED_STATES, Adapter, AdapterState
from appliance.training import adapters
from appliance.training.errors import AdapterRefused
from tests.appliance.training.cast import BASE, Cast
from tests.appliance.training.racing import at_once

S = AdapterState
PAIRS = list(product(S, S))


@pytest.mark.parametrize(("seen", "to"), PAIRS, ids=[f"{seen}-{to}" for seen, to in PAIRS])
def test_an_adapter_moves_along_the_table_and_nowhere_else(cast: Cast, seen: AdapterState, to: AdapterState) -> None:
    adapter = cast.adapter(seen)
    allowed = to in ADAPTER_MOVES[seen]
    assert adapters.move(adapter, to) is allowed
    expected = to if allowed else seen
    assert (adapter.state, Adapter.objects.get().state) == (expected, expected)


def test_nothing_leads_out_of_rejected_and_withdrawn_and_neither_is_loaded() -> None:
    assert not ADAPTER_MOVES[S.REJECTED] | ADAPTER_MOVES[S.WITHDRAWN]
    assert {S.REJECTED, S.WITHDRAWN, S.WAITING}.isdisjoint(LOADED_STATES)


def test_nothing_becomes_active_again() -> None:
    assert {seen for seen, moves in ADAPTER_MOVES.items() if S.ACTIVE in moves} == {S.CANDIDATE, S.WAITING}


def test_a_move_says_since_when(cast: Cast) -> None:
    adapter = cast.adapter(S.CANDIDATE)
    assert adapters.move(adapter, S.WAITING)
    assert Adapter.objects.get().state_since > adapter.created_at


def test_of_two_moves_at_once_one_is_made(cast: Cast) -> None:
    for _ in range(15):
        adapter = cast.adapter()
        seen = [Adapter.objects.get(pk=adapter.pk) for _ in range(2)]
        done = at_once(partial(adapters.move, seen[0], S.ACTIVE), partial(adapters.move, seen[1], S.REJECTED))
        assert sorted(done) == [False, True]
        assert Adapter.objects.get(pk=adapter.pk).state == (S.ACTIVE if done[0] else S.REJECTED)


def test_a_move_of_what_somebody_else_has_moved_changes_nothing(cast: Cast) -> None:
    adapter = cast.adapter()
    stale = Adapter.objects.get(pk=adapter.pk)
    assert adapters.move(adapter, S.REJECTED)
    assert not adapters.move(stale, S.ACTIVE)
    assert Adapter.objects.get().state == S.REJECTED


@pytest.mark.parametrize("state", [S.WAITING, S.ACTIVE])
def test_what_waits_or_is_served_can_be_withdrawn(cast: Cast, state: AdapterState) -> None:
    adapter = cast.adapter(state)
    adapters.withdraw(adapter)
    assert Adapter.objects.get().state == S.WITHDRAWN


@pytest.mark.parametrize("state", [S.CANDIDATE, S.REJECTED, S.WITHDRAWN])
def test_withdrawing_anything_else_is_refused(cast: Cast, state: AdapterState) -> None:
    adapter = cast.adapter(state)
    with pytest.raises(AdapterRefused, match="nothing to withdraw") as caught:
        adapters.withdraw(adapter)
    assert caught.value.param == "model"
    assert Adapter.objects.get().state == state


def test_withdrawing_looks_at_the_row_and_not_at_what_the_caller_saw(cast: Cast) -> None:
    stale = cast.adapter(S.WAITING)
    Adapter.objects.update(state=S.ACTIVE)
    adapters.withdraw(stale)
    assert Adapter.objects.get().state == S.WITHDRAWN


@given(suffix=st.text(max_size=64))
def test_a_name_has_the_base_the_tenant_and_only_safe_characters(suffix: str) -> None:
    name = adapters.public_name("smollm2-135m", "acme", suffix)
    assert re.fullmatch(r"ft:smollm2-135m:acme:[a-z0-9-]{1,18}:[0-9a-f]{8}", name)


@given(suffix=st.text(max_size=64))
def test_the_same_suffix_twice_makes_two_names(suffix: str) -> None:
    assert adapters.public_name(BASE, "acme", suffix) != adapters.public_name(BASE, "acme", suffix)


@pytest.mark.parametrize(
    ("suffix", "plain"),
    [("", "tuned"), ("训练", "tuned"), ("My Model!", "my-model"), ("../../etc", "etc"), ("A:B", "a-b"), ("v2", "v2")],
)
def test_what_a_suffix_becomes(suffix: str, plain: str) -> None:
    assert adapters.public_name(BASE, "acme", suffix).split(":")[3] == plain


def ready(cast: Cast, index: int) -> EngineLife:
    replica = Replica.objects.create(deployment=cast.deployment, index=index, state="ready")
    life = EngineLife.objects.create(
        replica=replica, model_name=BASE, pid=1, pid_started=1, socket="/run/e.sock", log="/e.log",
        started_at=replica.state_since,
    )  # fmt: skip
    replica.life = life
    replica.save()
    return life


def test_an_adapter_is_loaded_once_every_ready_engine_has_it(cast: Cast) -> None:
    adapter = cast.adapter(S.CANDIDATE)
    assert not adapters.is_loaded(adapter), "there is no engine at all"
    first, second = ready(cast, 0), ready(cast, 1)
    AdapterLoad.objects.create(life=first, adapter=adapter, loaded=True)
    refused = AdapterLoad.objects.create(life=second, adapter=adapter, loaded=False, reason="no room")
    assert not adapters.is_loaded(adapter)
    refused.loaded = True
    refused.save()
    assert adapters.is_loaded(adapter)
    Replica.objects.filter(index=1).update(state="draining")
    assert adapters.is_loaded(adapter), "an engine that takes no requests does not count"


def test_what_an_ended_engine_had_does_not_count_as_loaded(cast: Cast) -> None:
    adapter = cast.adapter(S.CANDIDATE)
    AdapterLoad.objects.create(life=ready(cast, 0), adapter=adapter, loaded=True)
    Replica.objects.update(life=None)
    assert not adapters.is_loaded(adapter)
