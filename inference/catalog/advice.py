"""Whether a model may be started in some way, and if not, which profile of the catalog comes nearest to what was meant."""

from __future__ import annotations

from collections.abc import Iterator

from inference.catalog import combination, memory
from inference.catalog.errors import CannotRun
from inference.catalog.hardware import HARDWARE
from inference.catalog.preset import Preset, Profile
from inference.catalog.run import Run, of_profile


def refuse(preset: Preset, card: str, run: Run, memory_bytes: int = 0, sequences: int = 1) -> None:
    """Let through what no reason is known against.

    `memory_bytes`: a card's; 0 takes the catalog's for it. `sequences`: how many of full length must fit at once.
    Raises: CannotRun with every reason and the nearest profile that works.
    """
    reasons = list(_reasons(preset, card, run, memory_bytes, sequences))
    if reasons:
        near = nearest(preset, card, run, memory_bytes)
        told = f"{preset.title} can't run so on {card}: {'; '.join(reasons)}."
        raise CannotRun(f"{told} {_told(card, near)}")


def nearest(preset: Preset, card: str, run: Run, memory_bytes: int = 0) -> Profile | None:
    """The preset's profile for the card that works and has most in common with what was asked."""
    fit = [
        profile
        for profile in preset.profiles
        if card in profile.hardware and not any(_reasons(preset, card, of_profile(profile), memory_bytes, 1))
    ]
    return max(fit, key=lambda profile: _likeness(of_profile(profile), run), default=None)


def _reasons(preset: Preset, card: str, run: Run, memory_bytes: int, sequences: int) -> Iterator[str]:
    yield from combination.faults_of(preset, card, run)
    size = memory_bytes or HARDWARE[card].memory_bytes
    if size and run.precision in preset.weight_gb:
        short = memory.shortage(memory.need_of(preset, run), run, size, sequences)
        if short:
            yield short


def _likeness(profile: Run, asked: Run) -> tuple[bool, bool, bool, bool, bool, int]:
    """In the order in which they matter: adapters, the context, the weights, the layout, the number of cards."""
    return (
        (profile.lora_rank >= asked.lora_rank) if asked.lora_rank else not profile.lora_rank,
        profile.max_model_len >= asked.max_model_len,
        profile.precision == asked.precision,
        profile.expert_parallel == asked.expert_parallel,
        profile.tensor_parallel == asked.tensor_parallel,
        -abs(profile.devices - asked.devices),
    )


def _told(card: str, profile: Profile | None) -> str:
    if profile is None:
        return f"No profile of the catalog serves it on {card}."
    name = f"{card}:{profile.variant}" if profile.variant else card
    parts = [
        profile.precision,
        f"{profile.devices} {'device' if profile.devices == 1 else 'devices'}",
        f"tensor parallel {profile.tensor_parallel}" if profile.tensor_parallel > 1 else "",
        f"data parallel {profile.data_parallel}" if profile.data_parallel > 1 else "",
        "experts spread" if profile.expert_parallel else "",
        f"adapters up to rank {profile.lora_rank}" if profile.lora_rank else "",
        f"{profile.max_model_len} tokens of context",
    ]
    return f"The nearest that does: --profile {name} ({', '.join(part for part in parts if part)})."
