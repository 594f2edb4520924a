"""How figures are written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from appliance.console import figures

NOW = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("write", [figures.count, figures.milliseconds, figures.gib, figures.percent])
def test_it_writes_unknown_as_a_dash_and_never_as_zero(write: Callable[[float | None], str]) -> None:
    assert write(None) == figures.UNKNOWN
    assert write(0).startswith("0")


def test_it_separates_thousands_thinly() -> None:
    assert figures.count(1234567) == "1\u202f234\u202f567"


@pytest.mark.parametrize(("value", "text"), [(42, "42 ms"), (9999, "9\u202f999 ms"), (12_340, "12.3 s")])
def test_it_writes_latencies(value: int, text: str) -> None:
    assert figures.milliseconds(value) == text


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0.00 CNY"),
        (1_234_567_890, "1\u202f234.57 CNY"),
        (45, "0.000045 CNY"),
        (99_999, "0.099999 CNY"),
        (None, figures.UNKNOWN),
    ],
)
def test_it_writes_money_with_more_decimals_for_tiny_sums(micros: int | None, text: str) -> None:
    assert figures.money(micros, "CNY") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (7200, "2 h ago"), (3 * 86400, "3 days ago")],
)
def test_it_writes_relative_times(database: None, seconds: int, text: str) -> None:
    assert figures.ago(NOW - timedelta(seconds=seconds), NOW) == text
