"""Choosing a replica, and leaving one alone that fails: pure functions."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inference.gateway.admit import Admitted
from inference.gateway.breaker import FAILURES_TO_OPEN, FIRST_BACKOFF_S, MAX_BACKOFF_S, Breaker
from inference.gateway.directory import Key, Model, Replica
from inference.gateway.fim_tokens import FIM_HOLE
from inference.gateway.lanes import CHAT_AGES_S, Lane, lane_of, rank
from inference.gateway.route import LOAD_FACTOR, LOAD_SLACK_TOKENS, PREFIX_CHARACTERS, Candidate, choose, prefix_of

PREFIXES = st.integers(0, 2**64 - 1)


def replica(name: str) -> Replica:
    return Replica(name, f"life-{name}", "m", f"/{name}")


@st.composite
def candidates(draw: Any) -> list[Candidate]:
    loads = draw(st.lists(st.tuples(st.integers(0, 100_000), st.booleans()), min_size=1, max_size=9))
    return [Candidate(replica(str(number)), *load) for number, load in enumerate(loads)]


@given(candidates(), PREFIXES, st.integers(0, 1000))
def test_a_replica_with_room_is_taken_if_there_is_one(found: list[Candidate], prefix: int, turn: int) -> None:
    chosen = choose(found, prefix, turn)
    assert (chosen is None) == (not any(one.free for one in found))
    if chosen is not None:
        assert next(one.free for one in found if one.replica is chosen)


@given(candidates(), PREFIXES, st.integers(0, 1000))
def test_no_replica_far_above_the_least_loaded_is_taken(found: list[Candidate], prefix: int, turn: int) -> None:
    chosen = choose(found, prefix, turn)
    if chosen is not None:
        least = min(one.tokens for one in found if one.free)
        tokens = next(one.tokens for one in found if one.replica is chosen)
        assert tokens <= LOAD_FACTOR * least + LOAD_SLACK_TOKENS


@given(candidates(), PREFIXES)
def test_among_near_equals_a_prefix_keeps_its_replica(found: list[Candidate], prefix: int) -> None:
    near = [one._replace(tokens=one.tokens % LOAD_SLACK_TOKENS, free=True) for one in found]
    assert {choose(near, prefix, turn) for turn in range(5)} == {choose(near[::-1], prefix, 0)}


@given(PREFIXES, st.integers(2, 8))
def test_a_replica_more_takes_prefixes_from_the_others_and_moves_none_between_them(prefix: int, num: int) -> None:
    equal = [Candidate(replica(str(number)), 0, free=True) for number in range(num)]
    before, after = choose(equal[:-1], prefix, 0), choose(equal, prefix, 0)
    assert after in (before, equal[-1].replica)


def test_prefixes_spread_over_all_replicas() -> None:
    equal = [Candidate(replica(name), 0, free=True) for name in "abcd"]
    chosen = [choose(equal, prefix_of(admitted(prompt=f"file {number}")), 0) for number in range(2000)]
    assert all(400 < chosen.count(one.replica) < 600 for one in equal)


def test_ties_go_round() -> None:
    busy = Candidate(replica("busy"), 10**6, free=False)
    idle = [Candidate(replica(name), 5, free=True) for name in "abc"]
    prefix = next(
        one for one in range(1000) if choose([busy._replace(free=True, tokens=5), *idle], one, 0) is busy.replica
    )
    assert {choose([busy, *idle], prefix, turn) for turn in range(3)} == {one.replica for one in idle}


def admitted(tenant: str = "t", lane: str = "", fim: bool = True, name: str = "m", **body: Any) -> Admitted:
    from pathlib import Path

    key = Key("k", tenant, 9, 9, None, None, lane=lane)
    model = Model(name, "o", 1, 9, Path(), fim, None, "m")
    return Admitted("chat" if "messages" in body else "completions", key, model, body, True, False, 1, 1)


def test_requests_that_begin_alike_have_one_prefix_and_tenants_and_adapters_their_own() -> None:
    start = {"role": "system", "content": "x" * PREFIX_CHARACTERS}
    first = prefix_of(admitted(messages=[start, {"role": "user", "content": "a"}]))
    assert first == prefix_of(admitted(messages=[start, {"role": "user", "content": "b"}]))
    parts = [{"type": "text", "text": "x" * 1000}, {"type": "text", "text": "x" * PREFIX_CHARACTERS}]
    assert first == prefix_of(admitted(messages=[{"role": "system", "content": parts}]))
    in_parts = {"role": "system", "content": [{"type": "text", "text": "x" * PREFIX_CHARACTERS}, "y" * 10**6]}
    assert first == prefix_of(admitted(messages=[in_parts])), "as much is read of a text in parts"
    assert first != prefix_of(admitted(tenant="other", messages=[start]))
    assert first != prefix_of(admitted(name="adapter", messages=[start]))
    assert prefix_of(admitted(prompt="a")) != prefix_of(admitted(prompt="b"))
    assert prefix_of(admitted(prompt=[1, 2])) != prefix_of(admitted(prompt=[1, 3]))
    assert prefix_of(admitted(prompt=["a", "b"])) == prefix_of(admitted(prompt="a"))
    assert prefix_of(admitted(prompt=[[1, 2], [4]])) == prefix_of(admitted(prompt=[1, 2]))
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}]}, {"role": "assistant", "content": None}]
    assert prefix_of(admitted(messages=parts)) == prefix_of(admitted(messages=parts))
    assert isinstance(prefix_of(admitted(prompt="\ud800")), int)


def test_the_lane_is_the_keys_or_what_is_asked_for() -> None:
    assert lane_of(admitted(prompt=f"a{FIM_HOLE}b")) is Lane.FIM
    assert lane_of(admitted(prompt=f"a{FIM_HOLE}b", fim=False)) is Lane.CHAT
    assert lane_of(admitted(prompt="ab")) is Lane.CHAT
    assert lane_of(admitted(prompt=[1, 2])) is Lane.CHAT
    assert lane_of(admitted(messages=[{"role": "user", "content": FIM_HOLE}])) is Lane.CHAT
    assert lane_of(admitted(prompt=FIM_HOLE, lane="batch")) is Lane.BATCH
    assert lane_of(admitted(messages=[], lane="evaluation")) is Lane.EVALUATION


def test_lanes_are_in_order_and_only_chat_ages() -> None:
    assert [rank(lane, 0) for lane in Lane] == sorted(Lane)
    assert [one.priority for one in Lane] == [0, 1, 2, 3]
    assert rank(Lane.CHAT, CHAT_AGES_S) == Lane.FIM
    assert rank(Lane.EVALUATION, 1000) == Lane.EVALUATION
    assert rank(Lane.BATCH, 1000) == Lane.BATCH


def test_failures_in_a_row_open_a_circuit_and_one_trial_closes_it() -> None:
    breaker = Breaker()
    opened = [breaker.failed("a", 0) for _ in range(FAILURES_TO_OPEN)]
    assert opened == [False, False, True]
    assert breaker.is_open("a", FIRST_BACKOFF_S / 2)
    assert not breaker.is_open("b", 0)
    assert not breaker.is_open("a", FIRST_BACKOFF_S)
    breaker.began("a", FIRST_BACKOFF_S)
    assert breaker.is_open("a", FIRST_BACKOFF_S + 0.1)
    breaker.worked("a")
    assert not breaker.is_open("a", FIRST_BACKOFF_S + 0.1)
    assert not breaker.failed("a", 5)


def test_an_answer_between_failures_keeps_a_circuit_closed() -> None:
    breaker = Breaker()
    for _ in range(10):
        assert not breaker.failed("a", 0)
        assert not breaker.failed("a", 0)
        breaker.worked("a")
    assert not breaker.is_open("a", 0)


@given(st.lists(st.floats(0, 100), min_size=FAILURES_TO_OPEN, max_size=20))
def test_a_failed_trial_waits_longer_but_never_longer_than_the_bound(gaps: list[float]) -> None:
    breaker, now, opened = Breaker(), 0.0, 0
    for gap in gaps:
        now += gap
        opened += breaker.failed("a", now)
    assert opened == 1
    assert breaker.is_open("a", now + FIRST_BACKOFF_S / 2)
    assert not breaker.is_open("a", now + MAX_BACKOFF_S)


def test_a_life_that_is_no_more_is_forgotten() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed("a", 0)
    breaker.keep({"b"})
    assert not breaker.is_open("a", 0)
