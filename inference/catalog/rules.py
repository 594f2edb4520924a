"""What must hold within a preset beyond its types: the traps that cost a wrong answer or an engine that won't start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from inference.catalog.architecture import DeepseekV2
from inference.catalog.hardware import CARDS_PER_BOX, HARDWARE
from inference.catalog.preset import Preset, Profile
from inference.engines.vllm import NEVER_ADAPTED

VARIANTS = ("", "lora", "128k")
LORA_RANKS = (8, 16, 32, 64, 128, 256)
FP8_BLOCK = 128  # rows and columns that share a scale in block-wise fp8 checkpoints
# The pool passes these, or a profile has a field for them.
NOT_IN_FLAGS = frozenset(
    {
        "--model",
        "--served-model-name",
        "--uds",
        "--host",
        "--port",
        "--api-key",
        "--max-model-len",
        "--max-num-seqs",
        "--max-num-batched-tokens",
        "--tensor-parallel-size",
        "--data-parallel-size",
        "--decode-context-parallel-size",
        "--enable-expert-parallel",
        "--quantization",
        "--kv-cache-dtype",
        "--enable-lora",
        "--max-lora-rank",
        "--lora-modules",
        "--trust-remote-code",
    }
)


def faults_of(preset: Preset) -> Iterator[str]:
    """Name everything that is wrong with a preset."""
    for target in sorted(NEVER_ADAPTED.intersection(preset.lora.targets)):
        yield f"lora.targets: {target} is silently ignored by vLLM"
    if preset.context.default > preset.context.trained:
        yield "context.default: beyond what the model was trained to"
    yield from _coverage_faults(preset)
    for profile in preset.profiles:
        label = f"profiles[{','.join(profile.hardware)}{':' if profile.variant else ''}{profile.variant}]"
        yield from (f"{label}: {fault}" for fault in _profile_faults(preset, profile))


def _coverage_faults(preset: Preset) -> Iterator[str]:
    served = Counter((card, profile.variant) for profile in preset.profiles for card in profile.hardware)
    refused = Counter(card for entry in preset.impossible for card in entry.hardware)
    plain = {card for card, variant in served if not variant}
    named = {card for card, _ in served} | set(refused)
    yield from (f"hardware {card}: unknown" for card in sorted(named - HARDWARE.keys()))
    yield from (
        f"hardware {card}: neither a profile nor a reason" for card in HARDWARE if card not in plain | set(refused)
    )
    yield from (f"hardware {card}: a profile and a reason against it" for card in sorted(plain & set(refused)))
    yield from (f"hardware {card}:{variant}: twice" for (card, variant), count in sorted(served.items()) if count > 1)


def _profile_faults(preset: Preset, profile: Profile) -> Iterator[str]:
    if profile.variant not in VARIANTS:
        yield f"variant {profile.variant} is unknown"
    if profile.precision not in preset.weight_gb:
        yield f"precision {profile.precision} has no weight size"
    if profile.devices != profile.tensor_parallel * profile.data_parallel or profile.devices > CARDS_PER_BOX:
        yield "devices must be tensor_parallel x data_parallel and within one box"
    if profile.max_model_len > preset.context.trained:
        yield "max_model_len is beyond what the model was trained to"
    for flag in profile.flags:
        if flag.partition("=")[0] in NOT_IN_FLAGS:
            yield f"{flag} is not a preset's to set in flags"
    yield from _lora_faults(preset, profile)
    yield from _block_fp8_faults(preset, profile)


def _lora_faults(preset: Preset, profile: Profile) -> Iterator[str]:
    if not profile.lora_rank:
        return
    if profile.lora_rank not in LORA_RANKS or profile.lora_rank > preset.lora.max_rank:
        yield f"lora_rank {profile.lora_rank} is not one of {LORA_RANKS} up to {preset.lora.max_rank}"
    if profile.expert_parallel:
        yield "LoRA and expert parallelism exclude each other (fused MoE LoRA)"
    if profile.hardware == ("cpu",) and isinstance(preset.architecture, DeepseekV2):
        yield "LoRA on MoE layers ends a CPU engine at the first request"


def _block_fp8_faults(preset: Preset, profile: Profile) -> Iterator[str]:
    shape = preset.architecture
    if profile.precision != "fp8-block" or not isinstance(shape, DeepseekV2) or profile.expert_parallel:
        return
    if shape.moe_intermediate % (profile.tensor_parallel * FP8_BLOCK):
        yield f"block fp8 can't split experts {profile.tensor_parallel} ways: {shape.moe_intermediate} rows"
