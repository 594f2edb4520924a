"""How fast the catalog's cards are, from their data sheets, and the best that anyone has published reaching.

Where sources disagree, the lower figure stands. Dense rates: no sparsity.
"""

from __future__ import annotations

from dataclasses import dataclass

TERA = 1e12
GIGA = 1e9

# Scheduling and kernel launches of one decode step with CUDA graphs: assumed, neither published for these models nor measured.
STEP_OVERHEAD_S = 0.002
# Prompts are worked on in chunks, and each chunk reads the weights once: the engines' usual size, in tokens.
CHUNK_TOKENS = 8192


@dataclass(frozen=True)
class PublishedBest:
    """Which part of the peak FLOP/s useful work reached, end to end, and who says so."""

    prefill: float
    decode: float
    source: str


# 16.5K input and 5.7K output tokens/s a node at 4096 tokens of input, as separate maxima, over the FLOP of DeepSeek-R1.
BEST_PUBLISHED = PublishedBest(
    0.58, 0.38, "DeepSeek-R1 fp8 on 8xH20-96, SGLang, prefill and decode on separate nodes (LMSYS, 2025-09-26)"
)
# DeepSeek-V3.2 on 8xH20 (vLLM recipes) and R1 on 8xH200 (GPUStack), both vLLM with plain tensor parallelism.
PLAIN_TENSOR_PARALLEL = 0.09


@dataclass(frozen=True)
class Speeds:
    """One card. Units: bytes/s and FLOP/s; `link` is what a card sends to its peers, one way.

    `eight_bit` is the rate of fp8 and of int8; which of them the card has is the catalog's knowledge.
    """

    bandwidth: float
    bf16: float
    eight_bit: float
    link: float


SPEEDS = {
    "h20-96": Speeds(4.0 * TERA, 148 * TERA, 296 * TERA, 450 * GIGA),
    "h20-141": Speeds(4.8 * TERA, 148 * TERA, 296 * TERA, 450 * GIGA),
    "h800": Speeds(3.35 * TERA, 989 * TERA, 1979 * TERA, 200 * GIGA),
    "h100": Speeds(3.35 * TERA, 989 * TERA, 1979 * TERA, 450 * GIGA),
    "h200": Speeds(4.8 * TERA, 989 * TERA, 1979 * TERA, 450 * GIGA),
    "a100": Speeds(2.04 * TERA, 312 * TERA, 624 * TERA, 300 * GIGA),
    "a800": Speeds(2.04 * TERA, 312 * TERA, 624 * TERA, 200 * GIGA),
    # PCIe 4.0 x16: no link between the cards.
    "l40s": Speeds(0.864 * TERA, 362 * TERA, 733 * TERA, 32 * GIGA),
    # Ascend has no public data sheet; simulators disagree.
    "910b2": Speeds(1.2 * TERA, 354 * TERA, 708 * TERA, 196 * GIGA),
    "910b3": Speeds(1.2 * TERA, 295 * TERA, 590 * TERA, 196 * GIGA),
    "910b4": Speeds(0.8 * TERA, 280 * TERA, 560 * TERA, 30 * GIGA),
}
