"""OpenAI's three hyperparameters and one of ours: what a tenant may ask for, and what "auto" means here.

The rules come from runs on small models: rank 16 on all linear layers at 1e-3 teaches a 135M model a fact in about ten
passes over a handful of pairs. Larger data needs fewer passes and smaller steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetune.train.errors import BadHyperparameter

AUTO = "auto"
REPLAY = "replay_share"
BASE_LEARNING_RATE = 1e-3
LORA_RANK = 16
LORA_ALPHA = 32
MAX_EPOCHS = 50
MAX_BATCH = 256
MAX_MULTIPLIER = 10.0
REPLAY_SHARE = 0.1  # of the rows that are trained on, where an operator has registered a corpus
MAX_REPLAY_SHARE = 0.5
FEW_ROWS = 256  # below: full steps; above: a fifth of them, the usual LoRA rate of 2e-4
BATCH_TOKENS = 16_384  # an automatic batch holds no more than this


@dataclass(frozen=True)
class Hyperparameters:
    """What a run uses. The first three are OpenAI's names, with no "auto" left."""

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    learning_rate: float
    lora_rank: int = LORA_RANK
    lora_alpha: int = LORA_ALPHA
    replay_share: float = REPLAY_SHARE


def check(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, complete: a number or "auto" for each of OpenAI's names; our own only where it was asked for.

    Raises: BadHyperparameter naming the first one that is unknown or out of range.
    """
    unknown = sorted(set(asked) - {"n_epochs", "batch_size", "learning_rate_multiplier", REPLAY})
    if unknown:
        raise BadHyperparameter(
            unknown[0], f"{unknown[0]} is unknown; there are n_epochs, batch_size, learning_rate_multiplier, {REPLAY}."
        )
    replay = {} if asked.get(REPLAY) is None else {REPLAY: _share(asked[REPLAY])}
    return replay | {
        "n_epochs": _whole(asked, "n_epochs", MAX_EPOCHS),
        "batch_size": _whole(asked, "batch_size", MAX_BATCH),
        "learning_rate_multiplier": _multiplier(asked),
    }


def choose(rows: int, tokens: int, asked: Mapping[str, Any]) -> Hyperparameters:
    """Settle every "auto" from the size of the data; `tokens` counts all rows once (0: unknown).

    Raises: BadHyperparameter as `check` does.
    """
    wanted = check(asked)
    multiplier = _or_auto(wanted["learning_rate_multiplier"], 1.0 if rows <= FEW_ROWS else 0.2)
    return Hyperparameters(
        n_epochs=int(_or_auto(wanted["n_epochs"], _epochs(rows))),
        batch_size=int(_or_auto(wanted["batch_size"], _batch(rows, tokens))),
        learning_rate_multiplier=multiplier,
        learning_rate=BASE_LEARNING_RATE * multiplier,
        replay_share=replay_share(asked),
    )


def replay_share(asked: Mapping[str, Any]) -> float:
    """The share that replay is to have of what is trained on, where there is a corpus."""
    return _or_auto(asked.get(REPLAY) if asked.get(REPLAY) is not None else AUTO, REPLAY_SHARE)


def _epochs(rows: int) -> int:
    return max(3, min(10, math.ceil(1000 / max(1, rows))))


def _batch(rows: int, tokens: int) -> int:
    wanted = max(4, min(32, rows // 100))
    fitting = BATCH_TOKENS * rows // tokens if tokens else wanted
    return max(1, min(wanted, fitting))


def _or_auto(value: Any, automatic: float) -> float:
    return automatic if value == AUTO else float(value)


def _whole(asked: Mapping[str, Any], name: str, highest: int) -> int | str:
    value = asked.get(name)
    if value is None or value == AUTO:
        return AUTO
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= highest:
        raise BadHyperparameter(name, f'{name} must be a whole number from 1 to {highest}, or "auto".')
    return value


def _multiplier(asked: Mapping[str, Any]) -> float | str:
    name = "learning_rate_multiplier"
    value = asked.get(name)
    if value is None or value == AUTO:
        return AUTO
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_MULTIPLIER:
        raise BadHyperparameter(name, f'{name} must be a number above 0, up to {MAX_MULTIPLIER:g}, or "auto".')
    return float(value)


def _share(value: Any) -> float | str:
    if value == AUTO:
        return AUTO
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_REPLAY_SHARE:
        raise BadHyperparameter(REPLAY, f'{REPLAY} must be a number from 0 to {MAX_REPLAY_SHARE}, or "auto".')
    return float(value)
