"""The table of a replica's states."""

import pytest

from inference.pool.states import LIVE, TRANSITIONS, ReplicaState, may_move


def test_it_has_a_row_for_every_state():
    assert set(TRANSITIONS) == set(ReplicaState)


def test_it_never_moves_to_the_same_state():
    assert not any(may_move(state, state) for state in ReplicaState)


@pytest.mark.parametrize("state", sorted(LIVE))
def test_it_can_fail_from_every_living_state(state):
    assert may_move(state, ReplicaState.FAILED)


def test_it_drains_before_it_stops_what_serves():
    assert not may_move(ReplicaState.READY, ReplicaState.STOPPED)
    assert may_move(ReplicaState.READY, ReplicaState.DRAINING)
    assert may_move(ReplicaState.DRAINING, ReplicaState.STOPPED)


def test_it_becomes_ready_only_by_warming():
    assert [state for state in ReplicaState if may_move(state, ReplicaState.READY)] == [ReplicaState.WARMING]
