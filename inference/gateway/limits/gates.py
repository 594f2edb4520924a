"""Which limits a request has to pass, as plain values: what Redis' script and the local share both decide over."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

BYTES_PER_TOKEN = 2  # of a prompt before it was counted: less than any tokenizer's mean on code or Chinese text
PER_MILLION = 1_000_000


class Kind(StrEnum):
    """How a gate counts. The values are what the scripts know."""

    REQUESTS = "r"  # GCRA over a minute
    RUNNING = "c"  # requests at once
    MINUTE = "m"  # tokens of a window
    DAY = "d"
    MONTH = "M"
    SPEND = "s"  # millionths of the plan's currency, of a calendar month

    __hash__ = str.__hash__  # enum's own is ten times as slow, and each request looks its gates up


WINDOWS = frozenset({Kind.MINUTE, Kind.DAY, Kind.MONTH, Kind.SPEND})


@dataclass(frozen=True)
class Limits:
    """What somebody may use; None is no limit. `spend_micros` is of a calendar month (UTC)."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    spend_micros: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True)
class Prices:
    """Millionths of the plan's currency per million tokens."""

    input_micros: int = 0
    cached_micros: int = 0
    output_micros: int = 0

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> int:
        """What a request costs, rounded up, so that a sum of costs is never below the bill."""
        millionths = (
            (prompt_tokens - cached_tokens) * self.input_micros
            + cached_tokens * self.cached_micros
            + completion_tokens * self.output_micros
        )
        return -(-millionths // PER_MILLION)


class Need(NamedTuple):
    """What a request may use at most, before it has run."""

    tokens: int
    spend_micros: int


class Gate(NamedTuple):
    """One limit of one scope, and what the request takes of it. `key` is `scope:kind`; `whose` says which limit it is."""

    key: str
    kind: Kind
    limit: int
    amount: int
    whose: str


NamedGate = tuple[str, Kind, int, str]  # a gate but for what a request takes of it
# What a request takes of a gate: one, its tokens or its price, in this order.
AMOUNTS = {
    Kind.REQUESTS: 0, Kind.RUNNING: 0, Kind.MINUTE: 1, Kind.DAY: 1, Kind.MONTH: 1, Kind.SPEND: 2,
}  # fmt: skip


def need_of(body_bytes: int, max_tokens: int, num_sequences: int, prices: Prices) -> Need:
    """The reservation: the prompt by its bytes, every answer at its full length."""
    prompt, answers = math.ceil(body_bytes / BYTES_PER_TOKEN), num_sequences * max_tokens
    return Need(prompt + answers, prices.cost(prompt, 0, answers))


def named_gates(scope: str, limits: Limits, whose: str) -> Iterator[NamedGate]:
    """What of a scope's gates is the same for every request: a tenant's, one of its keys', or a model's in a tenant's plan."""
    for kind, limit in (
        (Kind.REQUESTS, limits.requests_per_minute),
        (Kind.RUNNING, limits.concurrency),
        (Kind.MINUTE, limits.tokens_per_minute),
        (Kind.DAY, limits.tokens_per_day),
        (Kind.MONTH, limits.tokens_per_month),
        (Kind.SPEND, limits.spend_micros),
    ):
        if limit is not None:
            yield f"{scope}:{kind}", kind, limit, whose
