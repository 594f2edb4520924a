"""From a preset and a profile to the engine's command line. What every engine gets whatever the model is the pool's."""

from __future__ import annotations

from inference.catalog.errors import NoProfile
from inference.catalog.preset import Preset, Profile


def profile_for(preset: Preset, name: str) -> Profile:
    """Find a profile by hardware ("h20-96") or hardware and variant ("h20-96:lora", "h200:128k").

    Raises: NoProfile with the reason the preset gives, or with the profiles there are.
    """
    card, _, variant = name.partition(":")
    for profile in preset.profiles:
        if card in profile.hardware and profile.variant == variant:
            return profile
    for entry in preset.impossible:
        if card in entry.hardware:
            raise NoProfile(f"{preset.title} can't be served on {card}: {entry.reason}")
    raise NoProfile(f"{preset.title} has no profile {name}: there are {', '.join(profile_names(preset))}")


def profile_names(preset: Preset) -> tuple[str, ...]:
    """Every profile of a preset, by the name it is asked for with."""
    return tuple(
        f"{card}:{profile.variant}" if profile.variant else card
        for profile in preset.profiles
        for card in profile.hardware
    )


def context_for(preset: Preset, profile: Profile, registered: int) -> int:
    """Tokens of context that a profile serves of a model.

    The profile's own where the model was registered with the preset's, which says nothing of the hardware; else the smaller
    of both.
    """
    return profile.max_model_len if registered == preset.context.default else min(registered, profile.max_model_len)


def flags_for(preset: Preset, name: str) -> tuple[str, ...]:
    """The engine's flags for a profile, without what the pool itself passes (model, socket, context length).

    Raises: NoProfile as profile_for does.
    """
    profile = profile_for(preset, name)
    valued = (
        ("--tensor-parallel-size", profile.tensor_parallel if profile.tensor_parallel > 1 else None),
        ("--data-parallel-size", profile.data_parallel if profile.data_parallel > 1 else None),
        (
            "--decode-context-parallel-size",
            profile.decode_context_parallel if profile.decode_context_parallel > 1 else None,
        ),
        ("--quantization", profile.quantization),
        ("--kv-cache-dtype", profile.kv_cache_dtype),
        ("--max-num-seqs", profile.max_num_seqs),
        ("--max-num-batched-tokens", profile.max_num_batched_tokens),
    )
    flags = [part for flag, value in valued if value is not None for part in (flag, str(value))]
    if profile.expert_parallel:
        flags.append("--enable-expert-parallel")
    if profile.lora_rank:
        flags += ["--enable-lora", "--max-lora-rank", str(profile.lora_rank)]
    return (*flags, *profile.flags)
