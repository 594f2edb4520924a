"""Whether a model may be started in some way, and if not, which profile of the catalog comes nearest to what was meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from inference.catalog import combination, memory
from inference.catalog.errors import CannotRun
from inference.catalog.hardware import HARDWARE
from inference.catalog.preset import Preset, Profile
from inference.catalog.run import Run, of_profile


@dataclass(frozen=True)
class Room:
    """What an engine must fit. `memory_bytes`: a card's, or the machine's without cards; 0 takes the catalog's for the card.

    `stored_bytes`: the checkpoint's on the disk, 0 where unknown. `sequences`: how many of full length must fit at once.
    """

    memory_bytes: int = 0
    stored_bytes: int = 0
    sequences: int = 1


ANY = Room()


def refuse(preset: Preset, card: str, run: Run, room: Room = ANY) -> None:
    """Let through what no reason is known against.

    Raises: CannotRun with every reason and the nearest profile that works.
    """
    reasons = list(_reasons(preset, card, run, room))
    if reasons:
        told = f"{preset.title} can't run so on {card}: {'; '.join(reasons)}."
        raise CannotRun(f"{told} {_way_out(preset, card, run, room)}")


def nearest(preset: Preset, card: str, run: Run, room: Room = ANY) -> Profile | None:
    """The preset's profile for the card that works with this checkpoint and has most in common with what was asked."""
    fit = [
        profile
        for profile in preset.profiles
        if card in profile.hardware and _works(preset, card, _with_checkpoint(profile, run), room)
    ]
    return max(fit, key=lambda profile: _likeness(profile, run), default=None)


def _with_checkpoint(profile: Profile, run: Run) -> Run | None:
    """What the profile's flags make of this checkpoint; None where the engine can't load it so."""
    stored = run.stored_as or run.precision
    if profile.quantization == "fp8":
        return replace(of_profile(profile), precision="fp8-tensor") if stored in ("bf16", "fp8-tensor") else None
    if profile.quantization == "ascend" and stored != "w8a8":
        return None
    return replace(of_profile(profile), precision=stored)


def _works(preset: Preset, card: str, candidate: Run | None, room: Room) -> bool:
    return candidate is not None and not any(_reasons(preset, card, candidate, replace(room, sequences=1)))


def _reasons(preset: Preset, card: str, run: Run, room: Room) -> Iterator[str]:
    yield from combination.faults_of(preset, card, run)
    size = room.memory_bytes or HARDWARE[card].memory_bytes
    if not size or not (run.precision in preset.weight_gb or room.stored_bytes):
        return
    need = memory.need_of(preset, run, room.stored_bytes)
    on_cpu = card == "cpu"
    short = memory.shortage_of_machine(need, size) if on_cpu else memory.shortage(need, run, size, room.sequences)
    if short:
        yield short


def _likeness(profile: Profile, asked: Run) -> tuple[bool, bool, bool, bool, bool, int]:
    """In the order in which they matter: adapters, the context, the weights, the layout, the number of cards."""
    return (
        (profile.lora_rank >= asked.lora_rank) if asked.lora_rank else not profile.lora_rank,
        profile.max_model_len >= asked.max_model_len,
        profile.precision == asked.precision,
        profile.expert_parallel == asked.expert_parallel,
        profile.tensor_parallel == asked.tensor_parallel,
        -abs(profile.devices - asked.devices),
    )


def _way_out(preset: Preset, card: str, run: Run, room: Room) -> str:
    near = nearest(preset, card, run, room)
    if near is not None:
        return f"The nearest that does: {_told(card, near, _with_checkpoint(near, run) or run)}."
    others = [
        profile
        for profile in preset.profiles
        if card in profile.hardware and _works(preset, card, of_profile(profile), replace(room, stored_bytes=0))
    ]
    other = max(others, key=lambda profile: _likeness(profile, run), default=None)
    if other is None:
        return f"No profile of the catalog serves it on {card}."
    return (
        f"No profile for {card} serves these weights; with weights in {other.precision} does "
        f"{_told(card, other, of_profile(other))}."
    )


def _told(card: str, profile: Profile, run: Run) -> str:
    name = f"{card}:{profile.variant}" if profile.variant else card
    parts = [
        run.precision,
        f"{profile.devices} {'device' if profile.devices == 1 else 'devices'}",
        f"tensor parallel {profile.tensor_parallel}" if profile.tensor_parallel > 1 else "",
        f"data parallel {profile.data_parallel}" if profile.data_parallel > 1 else "",
        "experts spread" if profile.expert_parallel else "",
        f"adapters up to rank {profile.lora_rank}" if profile.lora_rank else "",
        f"{profile.max_model_len} tokens of context",
    ]
    return f"--profile {name} ({', '.join(part for part in parts if part)})"
