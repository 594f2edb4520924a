"""What a LoRA run holds in memory, by part, from the base's shape and the run's settings. Standard library only.

The trainer's own ways are counted: the base frozen in bf16, LoRA weights, their gradients and AdamW's two moments in fp32,
autocast to bf16, the head on learned positions. Every figure is an upper estimate: the longest row decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from finetune.train.shape import Layer, Shape

BF16, FP32 = 2, 4
ADAMW_BYTES = 2 * FP32  # two moments of every trained weight
# Libraries, kernels and their scratch memory. CPU: 0.48 GB after loading, 0.63 GB after ten tiny steps, measured. Card: an
# assumption (context and workspaces of the libraries).
RUNTIME_BYTES = {"cpu": 650_000_000, "cuda": 1_500_000_000}
# What the allocator holds beside what is alive, with the buffers of the layer in work: 1.2 to 1.4 measured on a CPU.
ALLOCATOR_SHARE = 1.3
# Of each attention score, where no fused kernel applies: the softmax in fp32 and its copies.
SCORE_BYTES = 8
TOKEN_BYTES = 4  # a row's tokens, kept in the process for the whole run


@dataclass(frozen=True)
class Batch:
    """What is in work at once: `tokens`, in rows of `row_tokens` at most that see only themselves."""

    tokens: int
    row_tokens: int


@dataclass(frozen=True)
class Memory:
    """Bytes by part."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    runtime: int

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(asdict(self).values())

    @property
    def fixed(self) -> int:
        """What no shorter row and no smaller batch changes."""
        return self.total - self.activations


def batch_at_once(batch_size: int, longest_row: int, longest_pack: int, most_tokens: int) -> Batch:
    """The trainer's largest part of a batch: as many rows as fit into `most_tokens`, one row at least.

    A batch counts packs of rows; where nothing is packed, each row is its own.
    """
    return Batch(max(longest_row, min(batch_size * longest_pack, most_tokens)), longest_row)


def memory_of(
    shape: Shape,
    targets: Sequence[str],
    rank: int,
    batch: Batch,
    kind: str,
    *,
    all_tokens: int = 0,
    checkpointing: bool = False,
    weight_bytes: int = BF16,
    optimizer_bytes: int = ADAMW_BYTES,
) -> Memory:
    """What a run holds at its peak on a device of torch's kind.

    `all_tokens`: of the whole data, which a run on the CPU has in the same memory. `checkpointing`: whether a layer's
    activations are computed again in the backward pass instead of being kept.
    Units: bytes for each weight, and for each trained weight of the optimizer's state.
    """
    trained = shape.adapter_parameters(targets, rank)
    data = all_tokens * TOKEN_BYTES if kind == "cpu" else 0
    return Memory(
        weights=shape.parameters * weight_bytes,
        adapter=trained * (FP32 + BF16),  # autocast keeps a copy for the step
        gradients=trained * FP32,
        optimizer=trained * optimizer_bytes,
        activations=activation_bytes(shape, targets, rank, batch, kind, checkpointing),
        runtime=RUNTIME_BYTES[kind] + data,
    )


def activation_bytes(
    shape: Shape, targets: Sequence[str], rank: int, batch: Batch, kind: str, checkpointing: bool = False
) -> int:
    """What is kept for the backward pass, of all layers and of the head.

    Source: counted as in Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1), for these layers: a matrix that is frozen
    keeps nothing of its input, one with an adapter keeps its input and the rank's; norms keep theirs in fp32; attention by a
    fused kernel keeps queries, keys, values and its output, and no scores. Checkpointing keeps each layer's input and one
    layer's activations (section 5).
    """
    layers = [_layer_bytes(shape, layer, targets, rank, batch, kind) for layer in shape.layers]
    kept = len(layers) * batch.tokens * shape.hidden * BF16 + max(layers) if checkpointing else sum(layers)
    # logits in bf16 and fp32 and their log-softmax; in the backward pass its gradients take the place of the first two
    head = batch.tokens * (shape.vocab * (BF16 + 2 * FP32) + shape.hidden * (FP32 + BF16))
    return round(ALLOCATOR_SHARE * (kept + head))


def _layer_bytes(shape: Shape, layer: Layer, targets: Sequence[str], rank: int, batch: Batch, kind: str) -> int:
    norms = FP32 * (2 * shape.hidden + shape.latent)
    attention = 2 * BF16 * (shape.key_width + shape.value_width)
    adapted = [linear for linear in layer.linears if linear.is_adapted(targets)]
    adapters = BF16 * sum(linear.inputs + rank for linear in adapted)
    # of a gated layer: the gate, its activation and the other half; a routed expert also its input and its weighted output
    inside = 3 * BF16 * layer.width
    routed = 3 * BF16 * layer.experts_per_token * (layer.expert_width + shape.hidden)
    scores = 0
    if shape.latent and kind == "cpu":  # keys and values of different widths: the CPU's fused kernel does not take them
        scores = SCORE_BYTES * shape.heads * batch.row_tokens
    return batch.tokens * (norms + attention + adapters + inside + routed + scores)
