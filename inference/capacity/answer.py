"""An answer's parts, as plain values. Its JSON is these fields by these names: docs/capacity.md describes them."""

from __future__ import annotations

from dataclasses import dataclass

from inference.capacity.efficiency import Engine, Interval
from inference.capacity.layout import Layout, Recommended
from inference.capacity.question import Question
from inference.capacity.rates import ContractRow, Point
from inference.capacity.replica import Limit


@dataclass(frozen=True)
class WeightsFit:
    """Decimal gigabytes: the model, its share on each card of the layout, and what a card leaves."""

    total_gb: float
    per_card_gb: float
    usable_per_card_gb: float


@dataclass(frozen=True)
class KvCapacity:
    """The cache of the whole box, and how many sequences of full length it holds."""

    bytes_per_token: int
    tokens: int
    sequences: int


@dataclass(frozen=True)
class Prefill:
    """Input tokens/s with nothing else to do: with cached tokens counted, and the uncached ones alone."""

    tokens_per_s: float
    interval: Interval
    ceiling_tps: float
    uncached_tokens_per_s: float
    limit: Limit


@dataclass(frozen=True)
class Decode:
    """Output tokens/s with nothing else to do, and the sequences that run then."""

    tokens_per_s: float
    interval: Interval
    ceiling_tps: float
    sequences: int
    limit: Limit


@dataclass(frozen=True)
class Together:
    """The asked mixture of lengths, input and output at once."""

    requests_per_s: float
    interval: Interval
    ceiling_rps: float
    input_tps: float
    output_tps: float


@dataclass(frozen=True)
class Calibrated:
    """Which kind of serving the rates are predicted for, what such an engine reaches of the ideal, and how sure that is.

    `interval_factor` is the factor either way in which a rate lies in 8 of 10 cases.
    """

    engine: Engine
    parallelism: str
    prefill: float
    decode: float
    sequence_s: float
    interval_factor: float


@dataclass(frozen=True)
class Published:
    """Efficiencies that others reached, whatever the card: the best, and plain tensor parallelism."""

    prefill: float
    decode: float
    plain_tensor_parallel: float
    source: str


@dataclass(frozen=True)
class Assumption:
    """A constant that the answer rests on."""

    name: str
    value: float
    source: str


@dataclass(frozen=True)
class Answer:
    """What the box does. Where `possible` is false, `reason` holds the arithmetic, `nearest` what would fit."""

    question: Question
    possible: bool
    reason: str | None
    nearest: str | None
    binding_limit: Limit
    layout: Layout
    recommended: Recommended
    weights: WeightsFit
    kv: KvCapacity
    prefill: Prefill
    decode: Decode
    together: Together
    frontier: tuple[Point, ...]
    contract: tuple[ContractRow, ...]
    calibrated: Calibrated
    published: Published
    assumptions: tuple[Assumption, ...]
