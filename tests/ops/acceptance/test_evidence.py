"""Which readings are of use, and what the ledger bears out."""

from __future__ import annotations

from typing import Any

from ops.acceptance.evidence import Entry, Reading, book, disagreeing, evidence, usable
from tests.ops.acceptance.made import LIFE, request


def entry(number: int, began: float, ended: float, **changed: Any) -> Entry:
    values: dict[str, Any] = {
        "request_id": f"req-{number}", "life_id": LIFE, "of_run": True, "began_at": began, "ended_at": ended,
        "prompt_tokens": 40, "cached_tokens": 0, "completion_tokens": 10, "engine_prompt_tokens": 40, "exact": True,
    }  # fmt: skip
    return Entry(**{**values, **changed})


def test_a_reading_while_a_request_was_on_its_way_is_of_no_use() -> None:
    rows = [entry(1, 10.0, 12.0)]
    readings = [Reading(at, 0, 0) for at in (9.9, 10.0, 11.0, 12.0, 12.4, 12.6)]
    assert [reading.at for reading in usable(readings, rows)] == [9.9, 12.6]


def test_a_life_is_booked_from_the_last_idle_reading_before_to_the_first_one_after() -> None:
    before = [Reading(1.0, 100, 10), Reading(5.0, 105, 11), Reading(9.0, 110, 12)]
    after = [Reading(31.0, 195, 33), Reading(35.0, 200, 34)]
    rows = [
        entry(1, 8.9, 9.1, of_run=False, prompt_tokens=5, engine_prompt_tokens=5, completion_tokens=1),  # over the third
        entry(2, 12.0, 20.0), entry(3, 12.0, 30.8), entry(4, 4.0, 4.2), entry(5, 34.0, 34.1),
        entry(6, 12.0, 13.0, life_id="other"),
    ]  # fmt: skip
    found = book(LIFE, "tiny/0", ["cpu:0"], (before, after), rows)
    assert (found.before, found.after) == (before[1], after[1])
    assert (found.requests, found.requests_of_others) == (4, 1)
    assert (found.prompt_tokens, found.completion_tokens) == (125, 31)


def test_a_request_that_ledger_and_client_tell_differently_is_named() -> None:
    rows = [request(1), request(2), request(3), request(4, error="cut", completion_tokens=0)]
    booked = [entry(1, 1, 2), entry(2, 1, 2, completion_tokens=9), entry(9, 1, 2), entry(8, 1, 2, of_run=False)]
    assert disagreeing(rows, booked) == ["req-2", "req-3", "req-9"]


def test_an_inexact_row_or_another_count_of_cached_tokens_is_no_agreement() -> None:
    assert disagreeing([request(1)], [entry(1, 1, 2, exact=False)]) == ["req-1"]
    assert disagreeing([request(1)], [entry(1, 1, 2, cached_tokens=16)]) == ["req-1"]


def test_a_request_without_an_id_is_named_by_its_number() -> None:
    assert disagreeing([request(1, request_id="")], []) == ["request 1"]


def test_the_sums_are_of_the_runs_own_requests() -> None:
    rows = [entry(2, 2, 3), entry(1, 1, 3), entry(3, 1, 2, of_run=False)]
    found = evidence("k", [request(1), request(2)], rows, ((LIFE,), (LIFE,)), ())
    assert (found.requests, found.prompt_tokens, found.completion_tokens) == (2, 80, 20)
    assert (found.first_request, found.last_request, found.num_disagreeing) == ("req-1", "req-2", 0)
