"""An answer's parts, as plain values. Its JSON is these fields by these names: docs/capacity.md describes them."""

from __future__ import annotations

from dataclasses import dataclass

from inference.capacity.layout import Layout, Recommended
from inference.capacity.question import Question
from inference.capacity.rates import ContractRow, Decoding, Point
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
    uncached_tokens_per_s: float
    limit: Limit


@dataclass(frozen=True)
class Together:
    """The asked mixture of lengths, input and output at once."""

    requests_per_s: float
    input_tps: float
    output_tps: float


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
    """What the box does. Where `possible` is false, `reason` holds the arithmetic and decode's rate is 0."""

    question: Question
    possible: bool
    reason: str | None
    binding_limit: Limit
    layout: Layout
    recommended: Recommended
    weights: WeightsFit
    kv: KvCapacity
    prefill: Prefill
    decode: Decoding
    together: Together
    frontier: tuple[Point, ...]
    contract: tuple[ContractRow, ...]
    published: Published
    assumptions: tuple[Assumption, ...]
