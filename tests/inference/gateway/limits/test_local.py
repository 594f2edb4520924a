"""The share of a worker that decides alone: never above its part, whatever comes, and never for ever below."""

from __future__ import annotations

import calendar
import time

from hypothesis import given
from hypothesis import strategies as st

from inference.gateway.limits.gates import Gate, Kind
from inference.gateway.limits.local import LocalShare, window_end
from inference.gateway.limits.outcome import Refused, Taken


class Clock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def gate(kind: Kind, limit: int, amount: int = 1) -> Gate:
    return Gate(f"t:a:{kind}", kind, limit, amount, "The tenant")


@given(st.integers(1, 500), st.integers(1, 8))
def test_requests_of_a_minute_stay_within_the_share(limit: int, workers: int) -> None:
    share = LocalShare(workers, Clock())
    taken = [share.reserve(str(n), [gate(Kind.REQUESTS, limit)]) for n in range(limit + 5)]
    assert sum(isinstance(one, Taken) for one in taken) == max(1, limit // workers)


@given(st.lists(st.integers(1, 100), max_size=40), st.integers(1, 400), st.integers(1, 4))
def test_tokens_stay_within_the_share_but_for_one_request_larger_than_it(
    amounts: list[int], limit: int, workers: int
) -> None:
    share = LocalShare(workers, Clock())
    taken = [a for n, a in enumerate(amounts) if isinstance(share.reserve(str(n), [gate(Kind.DAY, limit, a)]), Taken)]
    part = max(1, limit // workers)
    assert sum(taken) <= part or len(taken) == 1
    assert all(amount <= limit for amount in taken)


def test_a_window_begins_anew_when_its_time_is_over() -> None:
    clock = Clock()
    share = LocalShare(1, clock)
    full = [gate(Kind.MINUTE, 10, 10)]
    assert isinstance(share.reserve("a", full), Taken)
    refused = share.reserve("b", full)
    assert isinstance(refused, Refused)
    assert refused.retry_s is not None
    assert 0 < refused.retry_s <= 60
    clock.now += refused.retry_s
    assert isinstance(share.reserve("c", full), Taken)


def test_what_was_settled_makes_room() -> None:
    share = LocalShare(1, Clock())
    gates = [gate(Kind.DAY, 100, 60), gate(Kind.RUNNING, 1)]
    assert isinstance(share.reserve("a", gates), Taken)
    assert isinstance(share.reserve("b", gates), Refused)
    share.settle("a", gates, 10, 0)
    again = share.reserve("c", gates)
    assert isinstance(again, Taken)
    assert [rest.remaining for rest in again.left] == [30, 0]


@given(st.integers(0, 4_000_000_000))
def test_a_month_ends_where_the_next_begins(now: int) -> None:
    ends = window_end(Kind.MONTH, now)
    year, month = time.gmtime(now)[:2]
    days = calendar.monthrange(year, month)[1]
    assert ends == calendar.timegm((year, month, days, 23, 59, 59)) + 1
    assert ends > now
