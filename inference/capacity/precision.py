"""How weights are stored and with which arithmetic they are multiplied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inference.catalog.hardware import Hardware
from inference.catalog.memory import ROUTED_BYTES
from inference.catalog.preset import Preset


@dataclass(frozen=True)
class Precision:
    """`stored_as` are the catalog's names for it, the usual one first."""

    name: str
    stored_as: tuple[str, ...]
    eight_bit_arithmetic: bool

    @property
    def routed_bytes(self) -> float:
        """What a routed expert's weight takes."""
        return ROUTED_BYTES[self.stored_as[0]]


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("bf16", ("bf16",), False),
        Precision("fp8", ("fp8-block", "fp8-tensor"), True),
        Precision("w8a8", ("w8a8",), True),
        Precision("int4-experts", ("int4-experts",), False),
    )
}


def available(preset: Preset, card: Hardware) -> Iterator[str]:
    """The precisions in which a model exists and a card computes."""
    for name, precision in PRECISIONS.items():
        if precision.stored_as[0] in preset.weight_gb and not (name == "fp8" and not card.fp8):
            yield name
