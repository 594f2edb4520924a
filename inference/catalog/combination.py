"""Combinations of a model, a card and an engine's options that are known not to work, each with its reason.

Sources: vLLM's own checks and issues as named, and the released configurations.
"""

from __future__ import annotations

from collections.abc import Iterator

from inference.catalog.architecture import DeepseekV2
from inference.catalog.hardware import CARDS_PER_BOX, HARDWARE
from inference.catalog.preset import Preset
from inference.catalog.run import Run
from inference.engines.vllm import NEVER_ADAPTED

LORA_RANKS = (8, 16, 32, 64, 128, 256)
FP8_BLOCK = 128  # rows and columns that share a scale in block-wise fp8 checkpoints
ASCEND_GRAPH_HEADS = (32, 64, 128)  # heads a rank that Ascend's graph mode takes for latent attention


def faults_of(preset: Preset, card: str, run: Run) -> Iterator[str]:
    """Why a model can't run so on such cards; nothing where no reason is known. Memory is memory.py's matter."""
    yield from _split_faults(preset, run)
    yield from _lora_faults(preset, card, run)
    yield from _precision_faults(preset, card, run)
    if card.startswith("910"):
        yield from _ascend_faults(preset, run)
    if isinstance(preset.architecture, DeepseekV2) and "mtp" in run.speculative:
        yield "DeepSeek-V2 checkpoints have no layers for multi-token prediction: use n-gram or suffix decoding"


def _split_faults(preset: Preset, run: Run) -> Iterator[str]:
    shape = preset.architecture
    if run.devices != run.tensor_parallel * run.data_parallel * run.pipeline_parallel:
        parts = f"{run.tensor_parallel} x data parallel {run.data_parallel}"
        parts += f" x pipeline parallel {run.pipeline_parallel}" if run.pipeline_parallel > 1 else ""
        yield f"{run.devices} devices an engine, but tensor parallel {parts}: the product must be the same"
    if run.devices > CARDS_PER_BOX:
        yield f"an engine over {run.devices} devices does not stay within one box of {CARDS_PER_BOX}"
    if shape.heads % run.tensor_parallel:
        yield f"{shape.heads} attention heads can't be split {run.tensor_parallel} ways"
    if run.tensor_parallel % run.decode_context_parallel:
        yield (
            f"decode context parallel {run.decode_context_parallel} must divide tensor parallel {run.tensor_parallel}: "
            "it reuses those ranks"
        )
    if run.expert_parallel and not isinstance(shape, DeepseekV2):
        yield "expert parallelism needs a model with experts"
    if run.max_model_len > preset.context.trained:
        yield f"{run.max_model_len} tokens of context: the model was trained to {preset.context.trained}"


def _lora_faults(preset: Preset, card: str, run: Run) -> Iterator[str]:
    for module in sorted(NEVER_ADAPTED.intersection(run.lora_modules)):
        yield f"--lora-target-modules: {module} is silently ignored by vLLM (issue 48974)"
    if not run.lora_rank:
        return
    if run.lora_rank not in LORA_RANKS or run.lora_rank > preset.lora.max_rank:
        yield f"adapters of rank {run.lora_rank}: it has to be one of {LORA_RANKS} up to {preset.lora.max_rank}"
    if run.expert_parallel:
        yield "adapters and expert parallelism exclude each other (fused MoE LoRA)"
    if card == "cpu" and isinstance(preset.architecture, DeepseekV2):
        yield "adapters on MoE layers end a CPU engine at the first request"


def _precision_faults(preset: Preset, card: str, run: Run) -> Iterator[str]:
    shape = preset.architecture
    if run.precision.startswith("fp8") and not HARDWARE[card].fp8:
        yield f"{card} has no fp8 arithmetic"
    if (
        run.precision == "fp8-block"
        and isinstance(shape, DeepseekV2)
        and shape.moe_intermediate % (run.expert_split * FP8_BLOCK)
    ):
        yield (
            f"block-wise fp8 can't split experts {run.expert_split} ways: {shape.moe_intermediate} rows / "
            f"{run.expert_split} is no multiple of {FP8_BLOCK}"
        )


def _ascend_faults(preset: Preset, run: Run) -> Iterator[str]:
    shape = preset.architecture
    if not isinstance(shape, DeepseekV2) or run.enforce_eager:
        return
    heads = shape.heads // run.tensor_parallel
    if heads not in ASCEND_GRAPH_HEADS:
        yield (
            f"Ascend's graph mode wants {', '.join(map(str, ASCEND_GRAPH_HEADS))} heads a rank, and {shape.heads} split "
            f"{run.tensor_parallel} ways are {heads}: add --enforce-eager or split less"
        )
