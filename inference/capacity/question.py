"""A question to the planner, and the same with every name looked up."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from inference.capacity.efficiency import Engine
from inference.capacity.errors import BadQuestion
from inference.capacity.precision import PRECISIONS, Precision, available
from inference.capacity.speeds import SPEEDS, Speeds
from inference.capacity.work import Work
from inference.catalog.hardware import HARDWARE, Hardware
from inference.catalog.load import catalog
from inference.catalog.memory import Weights, weights_of
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
    engine: str = Engine.CURRENT
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
    engine: Engine

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
    def work(self) -> Work:
        """The case without its names."""
        return Work(
            self.preset.architecture,
            self.weights,
            self.card,
            self.speeds,
            self.peak_flops,
            self.asked.input_tokens,
            self.asked.output_tokens,
            self.asked.hit_rate,
        )


def resolve(asked: Question) -> Case:
    """Look up every name.

    Raises: BadQuestion with all faults; each names what exists.
    """
    faults: list[str] = []
    preset = catalog().get(asked.model)
    if preset is None:
        faults.append(_unknown("no model", asked.model, sorted(catalog())))
    cards, card = _box(asked.hardware, faults)
    precision = PRECISIONS.get(asked.precision)
    if precision is None:
        faults.append(_unknown("no precision", asked.precision, PRECISIONS))
    if asked.engine not in list(Engine):
        faults.append(_unknown("no engine", asked.engine, list(Engine)))
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
    return Case(
        asked,
        preset,
        cards,
        card,
        SPEEDS[card.name],
        precision,
        weights_of(preset, precision.stored_as[0]),
        Engine(asked.engine),
    )


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    """A fault that names all there are, and the nearest first where one is near."""
    near = get_close_matches(name.lower(), known, 1)
    return f"{what} {name!r}: {f'did you mean {near[0]}? ' if near else ''}there are {', '.join(known)}"


def _box(text: str, faults: list[str]) -> tuple[int, Hardware | None]:
    match = BOX.fullmatch(text.lower())
    if match is None:
        faults.append(f"hardware {text!r} must be written as number and card, for instance 8xH20-96")
        return 0, None
    number, name = int(match[1]), match[2]
    if number > MAX_CARDS:
        faults.append(f"{number} cards are too many: at most {MAX_CARDS}")
    if name not in SPEEDS:
        faults.append(_unknown("no speeds are known for", name, SPEEDS))
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
