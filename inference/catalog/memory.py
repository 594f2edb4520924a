"""Whether an engine fits its cards: weights, cache and reserve on each card, with the arithmetic in words."""

from __future__ import annotations

from dataclasses import dataclass

from inference.catalog.architecture import BF16_BYTES, FP8_BYTES, DeepseekV2
from inference.catalog.hardware import GB, RESERVED_BYTES, USABLE_SHARE
from inference.catalog.preset import Preset
from inference.catalog.run import Run

# Bytes of a routed expert's weight; int4 has groups of 64 that share a 16-bit scale.
ROUTED_BYTES = {"bf16": 2.0, "fp8-block": 1.0, "fp8-tensor": 1.0, "w8a8": 1.0, "int4-experts": 0.5 + 2 / 64}


@dataclass(frozen=True)
class Need:
    """Bytes on each card of an engine. `sequence` is the card's share of one sequence's cache at full length."""

    weights: float
    sequence: float

    def total(self, sequences: int) -> float:
        """With so many sequences at once on a card's own data-parallel rank."""
        return self.weights + sequences * self.sequence


def need_of(preset: Preset, run: Run) -> Need:
    """What an engine takes of each of its cards. The run's precision must be one of the preset's.

    Source: derived from the shape and the catalog's sizes. Routed experts are divided over all cards, the rest by tensor
    parallelism; a latent cache lies whole on every tensor-parallel rank unless decode context parallelism divides it.
    """
    shape = preset.architecture
    routed = shape.routed_parameters * ROUTED_BYTES[run.precision]
    other = preset.weight_gb[run.precision] * GB - routed
    weights = (routed / (run.tensor_parallel * run.data_parallel) + other / run.tensor_parallel) / run.pipeline_parallel
    by_heads = 1 if isinstance(shape, DeepseekV2) else min(run.tensor_parallel, shape.kv_heads)
    split = max(by_heads, run.decode_context_parallel) * run.pipeline_parallel
    element = FP8_BYTES if run.kv_cache_dtype.startswith("fp8") else BF16_BYTES
    return Need(weights, run.max_model_len * preset.kv_bytes_per_token(element) / split)


def shortage(need: Need, run: Run, memory_bytes: int, sequences: int = 1) -> str | None:
    """Why an engine with so many full sequences at once does not fit cards of such memory; None when it does.

    `sequences` are the whole engine's, spread evenly over its data-parallel ranks.
    """
    each = -(-sequences // run.data_parallel)
    usable = memory_bytes * USABLE_SHARE - RESERVED_BYTES
    if need.total(each) <= usable:
        return None
    of = f" of the {sequences} at once" if sequences > each else ""
    return (
        f"it does not fit: {_gb(need.weights)} of weights a card + {_gb(each * need.sequence)} of cache for {each}{of} "
        f"with {run.max_model_len} tokens = {_gb(need.total(each))}; a card of {_gb(memory_bytes)} leaves "
        f"{_gb(max(usable, 0))} ({USABLE_SHARE:.0%} of it, less {_gb(RESERVED_BYTES)})"
    )


def _gb(size: float) -> str:
    return f"{size / GB:.1f} GB"
