"""A question to the planner, and the same with every name looked up."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from inference.capacity.errors import BadQuestion
from inference.capacity.precision import PRECISIONS, Precision, Weights, available, weights_of
from inference.capacity.speeds import SPEEDS, Speeds
from inference.catalog.hardware import HARDWARE, Hardware
from inference.catalog.load import catalog
from inference.catalog.preset import Preset

MAX_CARDS = 64
BOX = re.compile(r"([1-9]\d*)x([a-z0-9-]+)")


@dataclass(frozen=True)
class Target:
    """Rates to be reached at the same time. Units: tokens/s; input counts cached tokens too."""

    input_tps: float
    output_tps: float


CONTRACT = (Target(20_000, 5_000), Target(20_000, 10_000))


@dataclass(frozen=True)
class Question:
    """What a person asks. `hardware` reads like 8xH20-96; lengths are those of the mean request.

    `hit_rate` is the share of input tokens that the prefix cache holds, from 0 to below 1.
    """

    model: str
    hardware: str
    precision: str
    input_tokens: int = 2000
    output_tokens: int = 1000
    hit_rate: float = 0.0
    tpot_ms: float = 50.0
    targets: tuple[Target, ...] = CONTRACT


@dataclass(frozen=True)
class Case:
    """The question with the catalog's and the data sheets' values."""

    asked: Question
    preset: Preset
    cards: int
    card: Hardware
    speeds: Speeds
    precision: Precision
    weights: Weights

    @property
    def peak_flops(self) -> float:
        """FLOP/s of one card in this precision."""
        return self.speeds.eight_bit if self.precision.eight_bit_arithmetic else self.speeds.bf16

    @property
    def tpot_s(self) -> float:
        """The time that an output token may take, in seconds."""
        return self.asked.tpot_ms / 1000

    @property
    def full_tokens(self) -> int:
        """What a sequence takes of the cache when it ends."""
        return self.asked.input_tokens + self.asked.output_tokens

    @property
    def mean_context(self) -> float:
        """Tokens that a decode step looks back on, over a sequence's life."""
        return self.asked.input_tokens + self.asked.output_tokens / 2


def resolve(asked: Question) -> Case:
    """Look up every name.

    Raises: BadQuestion with all faults; each names what exists.
    """
    faults: list[str] = []
    preset = catalog().get(asked.model)
    if preset is None:
        faults.append(f"no model {asked.model!r}: there are {', '.join(sorted(catalog()))}")
    cards, card = _box(asked.hardware, faults)
    precision = PRECISIONS.get(asked.precision)
    if precision is None:
        faults.append(f"no precision {asked.precision!r}: there are {', '.join(PRECISIONS)}")
    faults += _number_faults(asked)
    if preset is not None and asked.input_tokens + asked.output_tokens > preset.context.trained:
        faults.append(
            f"{asked.input_tokens} + {asked.output_tokens} tokens are beyond the {preset.context.trained} "
            f"that {preset.title} was trained to"
        )
    if preset and card and precision and precision.name not in (names := tuple(available(preset, card))):
        faults.append(
            f"{preset.title} can't be served in {precision.name} on {card.name}: there are {', '.join(names)}"
        )
    if faults or preset is None or card is None or precision is None:
        raise BadQuestion(faults)
    return Case(asked, preset, cards, card, SPEEDS[card.name], precision, weights_of(preset, precision))


def _box(text: str, faults: list[str]) -> tuple[int, Hardware | None]:
    match = BOX.fullmatch(text.lower())
    if match is None:
        faults.append(f"hardware {text!r} must be written as number and card, for instance 8xH20-96")
        return 0, None
    number, name = int(match[1]), match[2]
    if number > MAX_CARDS:
        faults.append(f"{number} cards are too many: at most {MAX_CARDS}")
    if name not in SPEEDS:
        faults.append(f"no speeds are known for {name!r}: there are {', '.join(SPEEDS)}")
        return number, None
    return number, HARDWARE[name]


def _number_faults(asked: Question) -> list[str]:
    rates = [rate for target in asked.targets for rate in (target.input_tps, target.output_tps)]
    checks = (
        (asked.input_tokens >= 1, "input tokens must be at least 1"),
        (asked.output_tokens >= 1, "output tokens must be at least 1"),
        (0 <= asked.hit_rate < 1, "the hit rate must be at least 0 and below 1: the last token is always computed"),
        (math.isfinite(asked.tpot_ms) and asked.tpot_ms > 0, "the time per output token must be above 0 ms"),
        (all(math.isfinite(rate) and rate >= 0 for rate in rates), "targets must not be negative"),
    )
    return [fault for holds, fault in checks if not holds]
