"""What must hold within a preset beyond its types: the traps that cost a wrong answer or an engine that won't start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from inference.catalog.combination import faults_of as faults_of_run
from inference.catalog.hardware import HARDWARE
from inference.catalog.preset import Preset, Profile
from inference.catalog.run import of_profile
from inference.engines.vllm import NEVER_ADAPTED

VARIANTS = ("", "lora", "128k")
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
    for flag in profile.flags:
        if flag.partition("=")[0] in NOT_IN_FLAGS:
            yield f"{flag} is not a preset's to set in flags"
    if profile.precision not in preset.weight_gb:
        yield f"precision {profile.precision} has no weight size"
    run = of_profile(profile)
    told = {fault for card in profile.hardware if card in HARDWARE for fault in faults_of_run(preset, card, run)}
    yield from sorted(told)
