"""OpenAI's three hyperparameters and two of ours: what a tenant may ask for, and what "auto" means here.

The rules come from runs on small models: rank 16 on all linear layers at 1e-3 teaches a 135M model a fact in about ten
passes over a handful of pairs. Larger data needs fewer passes and smaller steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
LEAST_STEPS = 40  # on packs, where nobody said otherwise; fewer hardly leave the warm-up
FIM_RATE = 0.5  # DeepSeek-Coder-V2's own (arXiv 2406.11931, section 3.1)
NAMES = ("n_epochs", "batch_size", "learning_rate_multiplier", "fim_rate")


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
    fim_rate: float = 0.0


@dataclass(frozen=True)
class Data:
    """What a run trains on.

    `sequences`: what a batch counts, conversations or packs of documents. `tokens`: of all of them once; 0: unknown.
    `fills`: whether these are documents, and the model fills in the middle.
    """

    sequences: int
    tokens: int
    packed: bool = False
    fills: bool = False


def data_of(kind: str, rows: int, tokens: int, max_length: int, fills: bool) -> Data:
    """Rows of a kind as a batch counts them; about so many, where they are packs."""
    if kind != "text":
        return Data(rows, tokens)
    return Data(max(1, math.ceil(tokens / max_length)), tokens, packed=True, fills=fills)


def check(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, complete: a number or "auto" for each of `NAMES`; the replay's share only where it was asked for.

    Raises: BadHyperparameter naming the first one that is unknown or out of range.
    """
    unknown = sorted(set(asked) - {*NAMES, REPLAY})
    if unknown:
        raise BadHyperparameter(unknown[0], f"{unknown[0]} is unknown; there are {', '.join((*NAMES, REPLAY))}.")
    replay = {} if asked.get(REPLAY) is None else {REPLAY: _share(asked[REPLAY])}
    return replay | {
        "n_epochs": _whole(asked, "n_epochs", MAX_EPOCHS),
        "batch_size": _whole(asked, "batch_size", MAX_BATCH),
        "learning_rate_multiplier": _number(
            asked,
            "learning_rate_multiplier",
            lambda value: 0 < value <= MAX_MULTIPLIER,
            f"above 0, up to {MAX_MULTIPLIER:g}",
        ),
        "fim_rate": _number(asked, "fim_rate", lambda value: 0 <= value <= 1, "from 0 to 1"),
    }


def choose(data: Data, asked: Mapping[str, Any]) -> Hyperparameters:
    """Settle every "auto" from the size of the data.

    Raises: BadHyperparameter as `check` does.
    """
    wanted = check(asked)
    multiplier = _or_auto(wanted["learning_rate_multiplier"], 1.0 if data.sequences <= FEW_ROWS else 0.2)
    return Hyperparameters(
        n_epochs=int(_or_auto(wanted["n_epochs"], _epochs(data))),
        batch_size=int(_or_auto(wanted["batch_size"], _batch(data))),
        learning_rate_multiplier=multiplier,
        learning_rate=BASE_LEARNING_RATE * multiplier,
        replay_share=replay_share(asked),
        fim_rate=_or_auto(wanted["fim_rate"], FIM_RATE) if data.fills else 0.0,
    )


def replay_share(asked: Mapping[str, Any]) -> float:
    """The share that replay is to have of what is trained on, where there is a corpus."""
    return _or_auto(asked.get(REPLAY) if asked.get(REPLAY) is not None else AUTO, REPLAY_SHARE)


def _epochs(data: Data) -> int:
    # a small repository is few packs, each of them a step: passes over it make up for what rows would have had
    least = math.ceil(LEAST_STEPS / data.sequences) if data.packed else 3
    return min(MAX_EPOCHS, max(3, least, min(10, math.ceil(1000 / max(1, data.sequences)))))


def _batch(data: Data) -> int:
    least = 1 if data.packed else 4  # a pack is as long as many conversations
    wanted = max(least, min(32, data.sequences // 100))
    fitting = BATCH_TOKENS * data.sequences // data.tokens if data.tokens else wanted
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


def _number(asked: Mapping[str, Any], name: str, fits: Callable[[float], bool], wanted: str) -> float | str:
    value = asked.get(name)
    if value is None or value == AUTO:
        return AUTO
    if isinstance(value, bool) or not isinstance(value, int | float) or not fits(value):
        raise BadHyperparameter(name, f'{name} must be a number {wanted}, or "auto".')
    return float(value)


def _share(value: Any) -> float | str:
    if value == AUTO:
        return AUTO
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_REPLAY_SHARE:
        raise BadHyperparameter(REPLAY, f'{REPLAY} must be a number from 0 to {MAX_REPLAY_SHARE}, or "auto".')
    return float(value)
