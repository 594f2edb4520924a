"""What each rank of a run holds in memory, by method and number of ranks, from the base's shape. Standard library only.

Beside the parts of `memory`, with the trainer's ways between ranks: a frozen base in bf16 is cut into as many parts as there
are ranks, what is gathered of it for the layer in work comes and goes, and activations are checkpointed. LoRA's weights and
trained experts are whole on each rank, with their gradients and moments. A run that trains all parameters cuts these too, in
fp32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from finetune.train.estimate import sum_of
from finetune.train.memory import (
    ADAMW_BYTES,
    BF16,
    FP32,
    RUNTIME_BYTES,
    TOKEN_BYTES,
    Batch,
    Memory,
    activation_bytes,
    memory_of,
)
from finetune.train.methods import EXPERTS, FULL, LORA
from finetune.train.shape import Layer, Shape, UnknownShape, shape_of
from finetune.train.spec import MICRO_BATCH_TOKENS, TrainSpec

# FSDP holds the layer in work, fetches the next one meanwhile, and has the buffer that the fetched parts arrive in.
LAYERS_AT_ONCE = 3
# Of experts that another rank sends: those in work and those that arrive.
SENT_AT_ONCE = 2


@dataclass(frozen=True)
class RankMemory(Memory):
    """Bytes by part, of one rank. `gathered`: what it has of others' parts while a layer is in work."""

    gathered: int


def rank_memory(
    shape: Shape,
    targets: Sequence[str],
    lora_rank: int,
    batch: Batch,
    kind: str,
    ranks: int,
    *,
    method: str = LORA,
    expert_share: float = 0.0,
    all_tokens: int = 0,
) -> Memory:
    """What one rank holds at its peak. `batch`: what is in its work at once; `all_tokens`: of the whole data."""
    if method == LORA and ranks == 1:
        return memory_of(shape, targets, lora_rank, batch, kind, all_tokens=all_tokens)
    data = all_tokens * TOKEN_BYTES if kind == "cpu" else 0
    runtime = RUNTIME_BYTES[kind] + data
    if method == FULL:
        return _full(shape, batch, kind, ranks, runtime)
    experts = trained_experts(shape, expert_share) if method == EXPERTS else 0
    adapter = shape.adapter_parameters(targets, lora_rank) if method == LORA else 0
    trained = adapter + experts
    tied = shape.vocab * shape.hidden if shape.tied else 0  # used at both ends, so it is not cut
    return RankMemory(
        weights=BF16 * (math.ceil((shape.parameters - tied) / ranks) + tied),
        adapter=trained * FP32 + BF16 * (adapter or _most(shape, experts)),  # and the step's copies of autocast
        # small ones are summed over the ranks in one copy, large ones where they are
        gradients=trained * FP32 + (adapter * FP32 if ranks > 1 else 0),
        optimizer=trained * ADAMW_BYTES,
        activations=activation_bytes(
            shape, targets if method == LORA else (), lora_rank, batch, kind, checkpointing=True
        ),
        runtime=runtime,
        gathered=_gathered_frozen(shape, ranks) if ranks > 1 else 0,
    )


def plan_of(spec: TrainSpec) -> dict[str, Any]:
    """What each rank of a run will hold at most, in bytes by part and in words; no figures of an unknown architecture."""
    try:
        shape = shape_of(spec.model_path)
    except UnknownShape as error:
        return {"ranks": spec.ranks, "memory": None, "message": str(error)}
    batch = Batch(max(MICRO_BATCH_TOKENS, spec.max_length), spec.max_length)
    need = rank_memory(
        shape, spec.target_modules, spec.lora_rank, batch, spec.device, spec.ranks,
        method=spec.method, expert_share=spec.expert_share,
    )  # fmt: skip
    told = f"each of {spec.ranks} ranks holds at most {sum_of(need)}"
    return {"ranks": spec.ranks, "memory": {**asdict(need), "total": need.total}, "message": told}


def trained_experts(shape: Shape, share: float) -> int:
    """Parameters of the experts that such a share of the choices goes to: at most that share of all, since the most used come
    first.
    """
    return sum(math.ceil(layer.experts * share) * _expert(shape, layer) for layer in shape.layers)


def _full(shape: Shape, batch: Batch, kind: str, ranks: int, runtime: int) -> Memory:
    own = math.ceil(shape.parameters / ranks)
    everything = tuple(linear.name for layer in shape.layers for linear in layer.linears)
    # what is computed is in fp32 between the matrices, for lack of a frozen base in bf16
    activations = FP32 // BF16 * activation_bytes(shape, everything, 0, batch, kind, checkpointing=True)
    largest = max(_layer(shape, layer) for layer in shape.layers)
    # the whole layers in fp32; the gradients of one of them, whole and as they are sent; and its copy of autocast
    gathered = largest * (LAYERS_AT_ONCE * FP32 + 2 * FP32) if ranks > 1 else 0
    return RankMemory(
        weights=own * FP32,
        adapter=0,
        gradients=own * FP32,
        optimizer=own * ADAMW_BYTES,
        activations=activations,
        runtime=runtime,
        gathered=gathered + largest * BF16,
    )


def _gathered_frozen(shape: Shape, ranks: int) -> int:
    """Layers without their routed experts, or the head; and the experts of whichever rank sends."""
    layers = LAYERS_AT_ONCE * max(sum(linear.parameters for linear in layer.linears) for layer in shape.layers)
    head = 0 if shape.tied else 2 * shape.vocab * shape.hidden
    sent = max(math.ceil(layer.experts / ranks) * _expert(shape, layer) for layer in shape.layers)
    return BF16 * (max(layers, head) + SENT_AT_ONCE * sent)


def _most(shape: Shape, experts: int) -> int:
    """Trained experts of one layer: only its copies are there at once."""
    layers = sum(bool(layer.experts) for layer in shape.layers)
    return math.ceil(experts / layers) if layers else 0


def _expert(shape: Shape, layer: Layer) -> int:
    return 3 * shape.hidden * layer.expert_width


def _layer(shape: Shape, layer: Layer) -> int:
    linears = sum(linear.parameters for linear in layer.linears)
    return linears + layer.norms + layer.experts * (_expert(shape, layer) + shape.hidden)
