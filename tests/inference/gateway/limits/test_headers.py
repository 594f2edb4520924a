"""What clients are told of their limits."""

from __future__ import annotations

import pytest

from inference.gateway.limits.gates import Gate, Kind, Limits, Prices, named_gates, need_of
from inference.gateway.limits.headers import duration, headers_of, refusal
from inference.gateway.limits.outcome import Left, Refused


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"), (0.0121, "13ms"), (0.9999, "1000ms"), (1.5, "1.5s"), (59.99, "60s"), (60, "1m0s"), (360, "6m0s"),
        (3600, "1h0m0s"), (90_061, "25h1m1s"),
    ],
)  # fmt: skip
def test_durations_read_as_openais(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def gate(kind: Kind, limit: int, scope: str = "t:a") -> Gate:
    return Gate(f"{scope}:{kind}", kind, limit, 1, "The tenant")


def test_the_tightest_gate_is_told() -> None:
    gates = [gate(Kind.REQUESTS, 100), gate(Kind.REQUESTS, 10, "k:b"), gate(Kind.RUNNING, 3)]
    told = dict(headers_of(gates, [Left(90, 6.0), Left(2, 48.0), Left(1, 0.0)]))
    assert told == {
        "x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "2", "x-ratelimit-reset-requests": "48s",
    }  # fmt: skip


def test_a_rate_says_when_to_come_again() -> None:
    error = refusal([gate(Kind.REQUESTS, 10)], Refused(0, 1.25, (Left(0, 60.0),)))
    headers = dict(error.headers)
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    assert (headers["retry-after-ms"], headers["retry-after"]) == ("1250", "2")
    assert "x-should-retry" not in headers


@pytest.mark.parametrize("kind", [Kind.DAY, Kind.MONTH, Kind.SPEND])
def test_a_budget_is_not_to_be_tried_again(kind: Kind) -> None:
    error = refusal([gate(kind, 10)], Refused(0, 7200.0, (Left(0, 7200.0),)))
    assert (error.status, error.code, error.kind) == (429, "insufficient_quota", "insufficient_quota")
    assert dict(error.headers)["x-should-retry"] == "false"
    assert "2h0m0s" in error.message


def test_no_limit_makes_no_gate() -> None:
    assert not list(named_gates("t:a", Limits(), "The tenant"))


def test_a_reservation_covers_every_answer_at_its_full_length() -> None:
    need = need_of(101, 10, 3, Prices(1_000_000, 100_000, 2_000_000))
    assert (need.tokens, need.spend_micros) == (51 + 30, 51 + 60)


def test_costs_are_rounded_up_and_never_below_the_bill() -> None:
    prices = Prices(1, 1, 1)
    assert prices.cost(1, 0, 0) == 1
    assert prices.cost(0, 0, 0) == 0
    assert Prices(1_000_000, 100_000, 2_000_000).cost(100, 40, 5) == 60 + 4 + 10
