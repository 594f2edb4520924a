"""Scored rows for the tests: ten tokens each, of which the last eight are the answer."""

from __future__ import annotations

from collections.abc import Sequence

from finetune.evaluate.scored import Scored

ANSWER_TOKENS = 8


def row(name: str, value: float = -1.0) -> Scored:
    return Scored(name, tuple(range(2 + ANSWER_TOKENS)), (None, -9.0, *[value] * ANSWER_TOKENS), 2)


def rows(count: int, value: float = -1.0) -> list[Scored]:
    return [row(f"row-{index}", value) for index in range(count)]


def shifted(scored: Sequence[Scored], by: float) -> list[list[float | None]]:
    """The rows' log-probabilities with every answer token moved."""
    return [[*one.logprobs[:2], *(value + by for value in one.logprobs[2:] if value is not None)] for one in scored]
