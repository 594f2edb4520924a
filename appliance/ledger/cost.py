"""What tokens cost under a plan. Pure integer arithmetic: amounts are micro-units of the plan's currency.

Prices are micro-units per million tokens. Sums are kept unrounded (`raw_cost`) and rounded once, when shown.
"""

from __future__ import annotations

from dataclasses import dataclass

TOKENS_PER_PRICE = 1_000_000


@dataclass(frozen=True)
class Prices:
    """A plan's prices, micro-units of `currency` per million tokens."""

    currency: str
    input_micros: int
    cached_micros: int
    output_micros: int


@dataclass(frozen=True)
class Tokens:
    """Metered tokens. `cached` is the part of `prompt` that came from the prefix cache."""

    prompt: int
    cached: int
    completion: int

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.cached + other.cached, self.completion + other.completion)


def raw_cost(tokens: Tokens, prices: Prices) -> int:
    """The cost times a million, exact: cached tokens at the cached price, the rest of the input at the input price."""
    cached = min(tokens.cached, tokens.prompt)  # a lower bound of the prompt never makes the rest negative
    fresh = tokens.prompt - cached
    return fresh * prices.input_micros + cached * prices.cached_micros + tokens.completion * prices.output_micros


def rounded(raw: int) -> int:
    """Micro-units from an exact cost, half up."""
    return (raw + TOKENS_PER_PRICE // 2) // TOKENS_PER_PRICE


def cost_micros(tokens: Tokens, prices: Prices) -> int:
    """The cost in micro-units of the plan's currency, rounded half up once."""
    return rounded(raw_cost(tokens, prices))
