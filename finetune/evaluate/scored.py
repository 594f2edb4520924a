"""A text's tokens with the training stack's log-probabilities, as `finetune.evaluate.scoring` prints them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.evaluate.errors import ScoresIncomplete

Logprobs = Sequence[float | None]


@dataclass(frozen=True)
class Scored:
    """`logprobs` is one per token, None where a token has no context; answers begin at `answer_start`."""

    id: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float | None, ...]
    answer_start: int

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Scored:
        """Read one line of the scorer's output."""
        return cls(str(line["id"]), tuple(line["token_ids"]), tuple(line["logprobs"]), int(line["answer_start"]))


def answer(row: Scored, logprobs: Logprobs) -> list[float]:
    """The log-probabilities of a row's answer tokens out of one scoring of all its tokens.

    Raises: ScoresIncomplete when one is missing or no number.
    """
    if len(logprobs) != len(row.token_ids):
        raise ScoresIncomplete(f"text {row.id}: {len(logprobs)} log-probabilities for {len(row.token_ids)} tokens")
    if not 1 <= row.answer_start <= max(1, len(row.token_ids)):
        raise ScoresIncomplete(f"text {row.id}: its answer starts at {row.answer_start} of {len(row.token_ids)}")
    found = [value for value in logprobs[row.answer_start :] if value is not None and math.isfinite(value)]
    missing = len(row.token_ids) - row.answer_start - len(found)
    if missing:
        raise ScoresIncomplete(f"text {row.id}: {missing} answer tokens have no log-probability")
    return found


def differences(rows: Sequence[Scored], left: Sequence[Logprobs], right: Sequence[Logprobs]) -> list[float]:
    """Absolute differences between two scorings, over the answer tokens of all rows.

    Raises: ScoresIncomplete.
    """
    return [
        abs(one - other) for ours, theirs in _pairs(rows, left, right) for one, other in zip(ours, theirs, strict=True)
    ]


def losses(rows: Sequence[Scored], left: Sequence[Logprobs], right: Sequence[Logprobs]) -> list[tuple[float, float]]:
    """Per row with an answer, its mean negative log-probability under either scoring, in nats a token.

    Raises: ScoresIncomplete.
    """
    pairs = _pairs(rows, left, right)
    return [(-sum(ours) / len(ours), -sum(theirs) / len(theirs)) for ours, theirs in pairs if ours]


def _pairs(
    rows: Sequence[Scored], left: Sequence[Logprobs], right: Sequence[Logprobs]
) -> Iterator[tuple[list[float], list[float]]]:
    if not len(rows) == len(left) == len(right):
        raise ScoresIncomplete(f"{len(rows)} texts, but {len(left)} and {len(right)} scorings")
    for row, ours, theirs in zip(rows, left, right, strict=True):
        yield answer(row, ours), answer(row, theirs)
