"""The accelerators that presets have flags for, with the memory of a card. Speeds belong to the capacity planner."""

from __future__ import annotations

from dataclasses import dataclass

GB = 1_000_000_000
CARDS_PER_BOX = 8
# What an engine may take of a card, and what of that is neither weights nor cache: derived, not measured.
USABLE_SHARE = 0.92
RESERVED_BYTES = 4 * GB
LEAST_RESERVED_BYTES = GB  # on a card of a make that the catalog does not know, whose engine is sure to need that
CPU_RESERVED_BYTES = GB  # Python, torch and the tokenizer of one engine: the least, not measured


@dataclass(frozen=True)
class Hardware:
    """One kind of card. `memory_bytes` is 0 where it is the machine's own memory."""

    name: str
    memory_bytes: int
    fp8: bool

    @property
    def usable_bytes(self) -> int:
        """What weights and cache may take together on one card."""
        return int(self.memory_bytes * USABLE_SHARE) - RESERVED_BYTES


HARDWARE = {
    card.name: card
    for card in (
        Hardware("h20-96", 96 * GB, fp8=True),
        Hardware("h20-141", 141 * GB, fp8=True),
        Hardware("h800", 80 * GB, fp8=True),
        Hardware("h100", 80 * GB, fp8=True),
        Hardware("h200", 141 * GB, fp8=True),
        Hardware("a100", 80 * GB, fp8=False),
        Hardware("a800", 80 * GB, fp8=False),
        Hardware("l40s", 48 * GB, fp8=True),
        Hardware("910b2", 64 * GB, fp8=False),
        Hardware("910b3", 64 * GB, fp8=False),
        Hardware("910b4", 32 * GB, fp8=False),
        Hardware("cpu", 0, fp8=False),
    )
}
