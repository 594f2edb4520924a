"""The cost of tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.ledger.cost import Prices, Tokens, cost_micros, raw_cost, rounded

PRICES = Prices("CNY", 1_000_000, 100_000, 2_000_000)
counts = st.integers(min_value=0, max_value=10**12)
tokens = st.builds(Tokens, counts, counts, counts)
prices = st.builds(Prices, st.just("CNY"), counts, counts, counts)


def test_it_prices_cached_tokens_apart_from_the_rest_of_the_input() -> None:
    assert cost_micros(Tokens(prompt=1_000_000, cached=400_000, completion=500_000), PRICES) == 1_640_000


def test_it_rounds_half_up_once() -> None:
    assert [rounded(raw) for raw in (499_999, 500_000, 1_499_999)] == [0, 1, 1]


def test_it_costs_nothing_for_nothing() -> None:
    assert cost_micros(Tokens(0, 0, 0), PRICES) == 0


@given(tokens, prices)
def test_it_is_never_negative(used: Tokens, plan: Prices) -> None:
    assert raw_cost(used, plan) >= 0


@given(st.lists(st.builds(Tokens, counts, st.just(0), counts), max_size=20), prices)
def test_it_costs_the_same_in_parts_and_at_once(parts: list[Tokens], plan: Prices) -> None:
    total = sum(parts, Tokens(0, 0, 0))
    assert raw_cost(total, plan) == sum(raw_cost(part, plan) for part in parts)
