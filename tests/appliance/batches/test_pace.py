"""How many requests run at once: growth, stepping back, and what is decided from answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.batches.answers import Answer, Usage, Verdict, answered, judge, wait_s
from appliance.batches.pace import FIRST, MOST, Pace
from appliance.batches.serving import choose


def test_it_starts_small_and_grows_while_answers_come() -> None:
    pace = Pace()
    assert pace.limit == FIRST
    for _ in range(200):
        pace.answered()
    assert pace.limit == MOST


def test_it_halves_once_for_all_that_was_sent_before_it_stepped_back() -> None:
    pace = Pace()
    for _ in range(30):
        pace.answered()
    for late in (0.0, 0.1, 0.2):
        pace.refused(sent_at=1.0, now=2.0 + late, wait_s=0.5)
    assert pace.limit == MOST / 2
    pace.refused(sent_at=3.0, now=3.1, wait_s=0.0)
    assert pace.limit == MOST / 4


def test_after_a_refusal_it_grows_by_one_a_round() -> None:
    pace = Pace()
    for _ in range(14):
        pace.answered()
    pace.refused(1.0, 2.0, 0.0)
    before = pace.limit
    for _ in range(int(before)):
        pace.answered()
    assert before + 0.9 < pace.limit <= before + 1


def test_nothing_is_sent_before_the_time_that_was_told() -> None:
    pace = Pace()
    pace.refused(sent_at=0.0, now=10.0, wait_s=5.0)
    assert pace.wait_s(12.0) == 3.0
    assert pace.wait_s(15.0) == 0.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100), st.floats(0, 100))))
def test_one_may_always_run_and_never_more_than_the_most(events: list[tuple[bool, float, float]]) -> None:
    pace, now = Pace(), 0.0
    for refused, sent_s_ago, wait in events:
        now += 1.0
        pace.refused(now - sent_s_ago, now, wait) if refused else pace.answered()
        assert 1.0 <= pace.limit <= MOST
    assert pace.wait_s(now + 1000.0) == 0.0


@pytest.mark.parametrize(
    ("status", "headers", "verdict"),
    [
        (200, {}, Verdict.KEEP),
        (400, {}, Verdict.KEEP),
        (404, {}, Verdict.KEEP),
        (401, {}, Verdict.KEY),
        (429, {"retry-after": "1"}, Verdict.BUSY),
        (429, {"x-should-retry": "false"}, Verdict.KEEP),
        (503, {}, Verdict.BUSY),
        (408, {}, Verdict.FAULT),
        (500, {}, Verdict.FAULT),
        (502, {}, Verdict.FAULT),
    ],
)
def test_what_follows_from_an_answer(status: int, headers: dict[str, str], verdict: Verdict) -> None:
    assert judge(Answer(status, headers, b"{}")) is verdict


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "7", "retry-after-ms": "850"}, 0.85),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "Tue, 1 Dec"}, 4.0),
        ({}, 4.0),
    ],
)
def test_it_waits_as_long_as_it_is_told_else_longer_with_each_try(headers: dict[str, str], seconds: float) -> None:
    assert wait_s(Answer(503, headers, b""), 2) == seconds


def usage(body: Any) -> Usage:
    return answered(1, "a", Answer(200, {}, json.dumps(body).encode())).usage


def test_usage_is_read_from_the_answer_and_odd_ones_count_nothing() -> None:
    told = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}
    assert usage({"usage": told}) == Usage(7, 3, 2)
    for odd in (None, [], {"usage": None}, {"usage": {"prompt_tokens": "7", "prompt_tokens_details": None}}):
        assert usage(odd) == Usage()


def test_an_answer_that_is_no_json_is_an_error_of_its_line() -> None:
    result = answered(3, "a", Answer(200, {}, b"<html>"))
    assert not result.ok
    assert json.loads(result.text)["error"]["code"] == "bad_answer"


def test_batches_are_taken_up_fairly_among_tenants() -> None:
    waiting = [("a1", "acme"), ("a2", "acme"), ("a3", "acme"), ("r1", "rivals")]
    assert choose(waiting, []) == ["a1", "a2", "r1"]
    assert choose(waiting, ["acme"]) == ["a1", "r1"]
    assert choose(waiting, ["acme", "acme"]) == ["r1"]
    assert choose(waiting, ["x"] * 15) == ["a1"]
    assert choose(waiting, ["x"] * 16) == []
