"""How weights are stored and with which arithmetic they are multiplied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inference.catalog.hardware import GB, Hardware
from inference.catalog.preset import Preset


@dataclass(frozen=True)
class Precision:
    """`stored_as` are the catalog's names for it, the usual one first. Routed experts take `routed_bytes` a weight."""

    name: str
    stored_as: tuple[str, ...]
    routed_bytes: float
    eight_bit_arithmetic: bool


@dataclass(frozen=True)
class Weights:
    """Bytes of a model: routed experts, which spread over cards, and everything else."""

    routed_bytes: float
    other_bytes: float

    @property
    def total_bytes(self) -> float:
        """Both together."""
        return self.routed_bytes + self.other_bytes


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("bf16", ("bf16",), 2.0, False),
        Precision("fp8", ("fp8-block", "fp8-tensor"), 1.0, True),
        Precision("w8a8", ("w8a8",), 1.0, True),
        # Groups of 64 share a 16-bit scale; the arithmetic is 16-bit.
        Precision("int4-experts", ("int4-experts",), 0.5 + 2 / 64, False),
    )
}


def weights_of(preset: Preset, precision: Precision) -> Weights:
    """Divide the catalog's total for a precision.

    Source: parameter counts of the architecture, sizes of the catalog. Units: bytes.
    """
    total = preset.weight_gb[precision.stored_as[0]] * GB
    routed = preset.architecture.routed_parameters * precision.routed_bytes
    return Weights(routed, total - routed)


def available(preset: Preset, card: Hardware) -> Iterator[str]:
    """The precisions in which a model exists and a card computes."""
    for name, precision in PRECISIONS.items():
        if precision.stored_as[0] in preset.weight_gb and not (name == "fp8" and not card.fp8):
            yield name
