"""Whether an engine fits its cards: weights, cache and reserve on each card, with the arithmetic in words."""

from __future__ import annotations

from dataclasses import dataclass

from inference.catalog.architecture import BF16_BYTES, FP8_BYTES, Architecture, DeepseekV2
from inference.catalog.hardware import CPU_RESERVED_BYTES, GB, RESERVED_BYTES, USABLE_SHARE
from inference.catalog.preset import Preset
from inference.catalog.run import Run
from inference.engines.vllm import CPU_CACHE_GIB

# Bytes of a routed expert's weight; int4 has groups of 64 that share a 16-bit scale.
ROUTED_BYTES = {"bf16": 2.0, "fp8-block": 1.0, "fp8-tensor": 1.0, "w8a8": 1.0, "int4-experts": 0.5 + 2 / 64}


@dataclass(frozen=True)
class Weights:
    """Bytes of a model: routed experts, which spread over cards, and everything else."""

    routed_bytes: float
    other_bytes: float

    @property
    def total_bytes(self) -> float:
        """Both together."""
        return self.routed_bytes + self.other_bytes


@dataclass(frozen=True)
class Need:
    """Bytes on each card of an engine. `sequence` is the card's share of one sequence's cache at full length."""

    weights: float
    sequence: float

    def total(self, sequences: int) -> float:
        """With so many sequences at once on a card's own data-parallel rank."""
        return self.weights + sequences * self.sequence


@dataclass(frozen=True)
class Stored:
    """A checkpoint as it lies on the disk: weights, the cache a token takes, what divides that, whether it has experts."""

    weight_bytes: int = 0
    kv_elements_per_token: int = 0
    kv_heads: int = 1
    experts: bool = False


def need_of(preset: Preset, run: Run, stored_bytes: int = 0) -> Need:
    """What an engine takes of each of its cards. A precision that the catalog has no size for is as large as on the disk.

    Source: derived from the shape and the catalog's sizes. Routed experts are divided over all cards, the rest by tensor
    parallelism.
    """
    known = run.precision in preset.weight_gb
    whole = weights_of(preset, run.precision) if known else _divided(preset, stored_bytes)
    cards = run.tensor_parallel * run.data_parallel
    weights = (whole.routed_bytes / cards + whole.other_bytes / run.tensor_parallel) / run.pipeline_parallel
    split = (
        cache_split(kv_heads_of(preset.architecture), run.tensor_parallel, run.decode_context_parallel)
        * run.pipeline_parallel
    )
    return Need(weights, run.max_model_len * preset.kv_bytes_per_token(_element_bytes(run)) / split)


def need_of_files(stored: Stored, run: Run) -> Need:
    """The least that an engine of a model outside the catalog takes of each of its cards.

    Experts are taken as spread over all of them, and 16-bit weights that the engine makes smaller as half.
    """
    whole = stored.weight_bytes / (2 if run.precision != run.stored_as else 1)
    weights = whole / (run.devices if stored.experts else run.tensor_parallel * run.pipeline_parallel)
    split = cache_split(stored.kv_heads, run.tensor_parallel, run.decode_context_parallel) * run.pipeline_parallel
    return Need(weights, run.max_model_len * stored.kv_elements_per_token * _element_bytes(run) / split)


def _divided(preset: Preset, size: int) -> Weights:
    """Weights of an unknown precision: routed experts have the share of the bytes that they have of the parameters."""
    routed = size * preset.architecture.routed_parameters / preset.architecture.total_parameters
    return Weights(routed, size - routed)


def _element_bytes(run: Run) -> int:
    return FP8_BYTES if run.kv_cache_dtype.startswith("fp8") else BF16_BYTES


def weights_of(preset: Preset, precision: str) -> Weights:
    """Divide the catalog's total for a precision, by the catalog's name for it.

    Source: parameter counts of the architecture, sizes of the catalog. Units: bytes.
    """
    routed = preset.architecture.routed_parameters * ROUTED_BYTES[precision]
    return Weights(routed, preset.weight_gb[precision] * GB - routed)


def cache_split(kv_heads: int, tensor_parallel: int, decode_context_parallel: int) -> int:
    """Over how many cards a sequence's cache is divided; a latent cache has one head for all, whole on every rank."""
    return max(min(tensor_parallel, kv_heads), decode_context_parallel)


def kv_heads_of(shape: Architecture) -> int:
    """What tensor parallelism can divide the cache by."""
    return 1 if isinstance(shape, DeepseekV2) else shape.kv_heads


def shortage(need: Need, run: Run, memory_bytes: int, sequences: int = 1, reserved: int = RESERVED_BYTES) -> str | None:
    """Why an engine with so many full sequences at once does not fit cards of such memory; None when it does.

    `sequences` are the whole engine's, spread evenly over its data-parallel ranks; `reserved` is for all but weights and cache.
    """
    each = -(-sequences // run.data_parallel)
    usable = memory_bytes * USABLE_SHARE - reserved
    if need.total(each) <= usable:
        return None
    of = f" of the {sequences} at once" if sequences > each else ""
    return (
        f"it does not fit: {_gb(need.weights)} of weights a card + {_gb(each * need.sequence)} of cache for {each}{of} "
        f"with {run.max_model_len} tokens = {_gb(need.total(each))}; a card of {_gb(memory_bytes)} leaves "
        f"{_gb(max(usable, 0))} ({USABLE_SHARE:.0%} of it, less {_gb(reserved)})"
    )


def shortage_of_machine(need: Need, memory_bytes: int) -> str | None:
    """Why one engine does not fit a machine without accelerators, whose shares are of one memory; None when it does."""
    cache = CPU_CACHE_GIB << 30
    if need.weights + cache + CPU_RESERVED_BYTES <= memory_bytes:
        return None
    return (
        f"it does not fit: {_gb(need.weights)} of weights + {_gb(cache)} of cache + {_gb(CPU_RESERVED_BYTES)} for the engine "
        f"itself; the machine has {_gb(memory_bytes)}"
    )


def _gb(size: float) -> str:
    return f"{size / GB:.1f} GB"
