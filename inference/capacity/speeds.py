"""How fast the catalog's cards are, from their data sheets, and which part of that anyone has published reaching.

Where sources disagree, the lower figure stands. Dense rates: no sparsity.
"""

from __future__ import annotations

from dataclasses import dataclass

TERA = 1e12
GIGA = 1e9

# Neither is published for these models nor measured here: what streaming reads and large transfers commonly sustain.
BANDWIDTH_SHARE = 0.80
LINK_SHARE = 0.70
# Scheduling and kernel launches of one decode step with CUDA graphs: assumed too.
STEP_OVERHEAD_S = 0.002


@dataclass(frozen=True)
class Efficiency:
    """Which part of the peak FLOP/s useful work reaches, end to end, and who says so."""

    prefill: float
    decode: float
    source: str


# 16.5K input and 5.7K output tokens/s a node at 4096 tokens of input, as separate maxima, over the FLOP of DeepSeek-R1.
BEST_PUBLISHED = Efficiency(
    0.58, 0.38, "DeepSeek-R1 fp8 on 8xH20-96, SGLang, prefill and decode on separate nodes (LMSYS, 2025-09-26)"
)
# The lengths behind these maxima are not published. No context is counted, so both are lower bounds:
# 100K/s x 40.65 GFLOP and 50K/s x 41.7 GFLOP over 15.83 PFLOP/s.
IN_HOUSE_H800 = Efficiency(
    0.25, 0.13, "DeepSeek-V2 fp8 on 8xH800, over 100K in and 50K out as separate maxima (DeepSeek-V2 report, 3.2.3)"
)
UNMEASURED = Efficiency(
    IN_HOUSE_H800.prefill, IN_HOUSE_H800.decode, f"nothing published for this card; taken from {IN_HOUSE_H800.source}"
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
    efficiency: Efficiency


SPEEDS = {
    "h20-96": Speeds(4.0 * TERA, 148 * TERA, 296 * TERA, 450 * GIGA, BEST_PUBLISHED),
    "h20-141": Speeds(4.8 * TERA, 148 * TERA, 296 * TERA, 450 * GIGA, BEST_PUBLISHED),
    "h800": Speeds(3.35 * TERA, 989 * TERA, 1979 * TERA, 200 * GIGA, IN_HOUSE_H800),
    "h100": Speeds(3.35 * TERA, 989 * TERA, 1979 * TERA, 450 * GIGA, IN_HOUSE_H800),
    "h200": Speeds(4.8 * TERA, 989 * TERA, 1979 * TERA, 450 * GIGA, IN_HOUSE_H800),
    "a100": Speeds(2.04 * TERA, 312 * TERA, 624 * TERA, 300 * GIGA, UNMEASURED),
    "a800": Speeds(2.04 * TERA, 312 * TERA, 624 * TERA, 200 * GIGA, UNMEASURED),
    # PCIe 4.0 x16: no link between the cards.
    "l40s": Speeds(0.864 * TERA, 362 * TERA, 733 * TERA, 32 * GIGA, UNMEASURED),
    # Ascend has no public data sheet; simulators disagree.
    "910b2": Speeds(1.2 * TERA, 354 * TERA, 708 * TERA, 196 * GIGA, UNMEASURED),
    "910b3": Speeds(1.2 * TERA, 295 * TERA, 590 * TERA, 196 * GIGA, UNMEASURED),
    "910b4": Speeds(0.8 * TERA, 280 * TERA, 560 * TERA, 30 * GIGA, UNMEASURED),
}
