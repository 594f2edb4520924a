"""Verdicts: void where figures can't be relied on, not met where they can and fall short."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ops.acceptance.evidence import Reading
from ops.acceptance.judge import judge
from tests.ops.acceptance.made import TARGET, WORK, books, life, measured, request, requests


def test_a_run_that_reaches_its_target_and_adds_up_is_met() -> None:
    assert judge(WORK, TARGET, measured(), books()) == judge(WORK, TARGET, measured(), books())
    assert judge(WORK, TARGET, measured(), books()).verdict == "met"
    assert judge(WORK, TARGET, measured(), books()).reasons == ()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"input_tps": 40.1}, "input: 40 tokens/s, the target is 40.1"),
        ({"output_tps": 10.1}, "output: 10 tokens/s"),
        ({"ttft_p99_ms": 99.0}, "TTFT at the 99th percentile: 100 ms"),
        ({"tpot_p99_ms": 99.0}, "TPOT at the 99th percentile: 100 ms"),
    ],
)
def test_each_part_of_a_target_can_be_missed(changed: dict[str, Any], told: str) -> None:
    found = judge(WORK, replace(TARGET, **changed), measured(), books())
    assert (found.verdict, len(found.reasons)) == ("not_met", 1)
    assert found.reasons[0].startswith(told)


def test_one_failed_request_is_enough_to_miss() -> None:
    rows = [*requests(), request(30, error="HTTP 503", ttft_s=None, completion_tokens=0, prompt_tokens=0)]
    found = judge(WORK, TARGET, measured(rows), books())
    assert (found.verdict, found.reasons) == ("not_met", ("1 of 31 requests failed; none may",))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"window_s": 19.0}, "the window was 19 s"),
        ({"requests_in_window": 0}, "no request began inside the window"),
        ({"mean_input_tokens": 43.0}, "prompts had 43 tokens"),
        ({"shortest_answer": 9}, "answers had 9 to 10 tokens"),
        ({"hit_rate": 0.1}, "10.0% of the input came from the prefix cache"),
        ({"generator_cpu": 0.97}, "97% of a core"),
    ],
)
def test_a_load_that_was_not_the_declared_one_is_void(changed: dict[str, Any], told: str) -> None:
    found = judge(WORK, TARGET, replace(measured(), **changed), books())
    assert found.verdict == "void"
    assert told in found.reasons[0]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"num_disagreeing": 1, "disagreeing": ("req-7",)}, "disagree about 1 requests: req-7"),
        ({"lives_after": ("33333333",)}, "are not those that served at the beginning"),
        ({"lives": ()}, "not every engine's counters"),
        ({"lives": (life(completion_tokens=300),)}, "rose by 1205 input and 301 output tokens, the ledger books 1205 and 300"),
        ({"lives": (life(after=Reading(200.0, 2204, 401)),)}, "rose by 1204 input"),
        ({"lives": (life(after=None),)}, "could not be read while it was idle"),
        ({"lives": (life(inexact=2),)}, "2 requests in the ledger are not exact"),
        ({"completion_tokens": 301}, "the ledger books (1200, 0, 301)"),
    ],
)  # fmt: skip
def test_books_that_do_not_agree_make_it_void(changed: dict[str, Any], told: str) -> None:
    found = judge(WORK, TARGET, measured(), books(**changed))
    assert (found.verdict, len(found.reasons)) == ("void", 1)
    assert told in found.reasons[0]


def test_void_comes_before_a_missed_target() -> None:
    assert judge(WORK, replace(TARGET, output_tps=1e6), measured(), books(lives=())).verdict == "void"
