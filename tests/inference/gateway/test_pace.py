"""How long answers are expected to be, and when a refused request is told to come again: as true as a worker can know."""

from __future__ import annotations

import heapq

from hypothesis import given
from hypothesis import strategies as st

from inference.gateway.pace import FIRST_GUESS_TOKENS, MAX_WAIT_S, MIN_WAIT_S, Pace


def test_nothing_is_promised_where_nothing_ended_of_late() -> None:
    pace = Pace()
    assert pace.wait_s(1, 4, 0) == MAX_WAIT_S
    pace.ended(0, 2, 1, 50)
    assert pace.wait_s(1, 4, 3) == MIN_WAIT_S
    assert pace.wait_s(1, 4, 63) == MAX_WAIT_S


def test_one_end_of_a_long_request_does_not_promise_one_each_second() -> None:
    pace = Pace()
    pace.ended(0, 30, 1, 50)
    assert pace.wait_s(2, 3, 30) == 20
    assert pace.wait_s(2, 0, 30) == MAX_WAIT_S
    assert pace.wait_s(10_000, 3, 30) == MAX_WAIT_S


@given(st.integers(1, 64), st.integers(1, 200), st.floats(0.1, 20), st.integers(0, 2**32))
def test_whoever_comes_back_when_told_finds_all_served_that_waited(
    places: int, waiting: int, mean_s: float, seed: int
) -> None:
    """Of a replica with so many places that has been busy for long; times are between half and one and a half the mean."""
    durations = [mean_s * (0.5 + (seed + 7919 * number) % 101 / 100) for number in range(40 * places + waiting)]
    pace, ends = Pace(), [(one, 0.0) for one in durations[:places]]
    heapq.heapify(ends)
    for one in durations[places : 40 * places]:
        now, began = heapq.heappop(ends)
        pace.ended(began, now, 1, 10)
        heapq.heappush(ends, (now + one, now))
    now = max(began for _, began in ends)
    told = pace.wait_s(waiting, places, now)
    last = now
    for one in durations[40 * places :]:
        last, _ = heapq.heappop(ends)
        heapq.heappush(ends, (last + one, last))
    really = min(max(last - now, MIN_WAIT_S), MAX_WAIT_S)
    # told in whole seconds; the running requests' rest is not known
    assert abs(told - really) <= 1 + 1.5 * mean_s + 0.35 * really


def test_the_mean_answer_is_that_of_requests_that_had_one() -> None:
    pace = Pace()
    for second in range(20):
        pace.ended(second, second + 1, 1, 50)
    learned = pace.answer_tokens
    assert 50 < learned < FIRST_GUESS_TOKENS
    for second in range(20):
        pace.ended(second, second + 1, 1, 0)
    assert pace.answer_tokens == learned
    assert pace.expect(2, 10) == 20
