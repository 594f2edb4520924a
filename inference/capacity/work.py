"""What is computed where: a model's shape and weights, a card, and the lengths of a mean request."""

from __future__ import annotations

from dataclasses import dataclass

from inference.capacity.shapes import Shape
from inference.capacity.speeds import Speeds
from inference.catalog.hardware import Hardware
from inference.catalog.memory import Weights


@dataclass(frozen=True)
class Work:
    """Units: FLOP/s of one card, tokens of a mean request, bytes of a cached token where they are not the shape's."""

    shape: Shape
    weights: Weights
    card: Hardware
    speeds: Speeds
    peak_flops: float
    input_tokens: float
    output_tokens: float
    hit_rate: float = 0.0
    kv_token_bytes: float | None = None

    @property
    def full_tokens(self) -> float:
        """What a sequence takes of the cache when it ends."""
        return self.input_tokens + self.output_tokens

    @property
    def mean_context(self) -> float:
        """Tokens that a decode step looks back on, over a sequence's life."""
        return self.input_tokens + self.output_tokens / 2
