"""Whether a model version may be started as asked: what the catalog knows against it is told before anything starts.

A model outside the catalog, or cards that it does not know, are judged by the weights on the disk and the memory that is here.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from appliance.fleet.models import Device
from appliance.registry.models import ModelVersion
from inference.catalog import checkpoint, memory
from inference.catalog.advice import Room, refuse
from inference.catalog.cards import hardware_of
from inference.catalog.errors import BadFlags, CannotRun, NoProfile, UnknownPreset
from inference.catalog.flags import context_for, profile_for
from inference.catalog.hardware import LEAST_RESERVED_BYTES
from inference.catalog.load import preset
from inference.catalog.run import Run, of_flags
from inference.devices import DeviceInfo
from inference.devices.info import box_of
from inference.engines.vllm import taken_over
from inference.engines.vllm_flags import Flags, splits


def context_of(model: ModelVersion, flags: tuple[str, ...], profile: str) -> int:
    """Tokens of context that engines of a version get: what the flags say, else the profile, else the version itself.

    Raises: BadFlags.
    """
    context = model.max_model_len
    with contextlib.suppress(NoProfile, UnknownPreset):  # the version may have another preset than the one before
        found = preset(model.preset)
        context = context_for(found, profile_for(found, profile), context)
    return of_flags(flags, 1, "", context).max_model_len


def refuse_misfit(
    model: ModelVersion, flags: tuple[str, ...], devices_each: int, profile: str, sequences: int = 1
) -> None:
    """Let through what nothing is known against.

    `profile` is the catalog's name of the cards, with a variant or without, "" for those that are here. `sequences`: how
    many of full length must fit an engine at once.
    Raises: CatalogError with the reason and, where there is one, the nearest way that works.
    """
    taken = taken_over(flags)
    if taken:
        raise BadFlags(f"a deployment can't set {', '.join(taken)}: the pool decides that")
    seen = _seen()
    card = profile.partition(":")[0] or _card_of(seen)
    # the shares of a CPU box are one engine's together, unless its flags split it
    each = 1 if _on_cpu(card, seen) and not splits(flags) else devices_each
    context = context_of(model, flags, profile)  # flags that can't be read never start
    if not (card or seen):
        return
    path = Path(model.path)
    run = of_flags(flags, each, checkpoint.stored_precision(path), context)
    size = _memory(card, seen)
    if model.preset and card:
        refuse(preset(model.preset), card, run, Room(size, checkpoint.weight_bytes(path), sequences))
    elif size and not _made_smaller(run, flags):
        _refuse_by_size(model, run, size, sequences, on_cpu=_on_cpu(card, seen))


def _refuse_by_size(model: ModelVersion, run: Run, size: int, sequences: int, *, on_cpu: bool) -> None:
    need = _need(model, run)
    short = (
        memory.shortage_of_machine(need, size)
        if on_cpu
        else memory.shortage(need, run, size, sequences, LEAST_RESERVED_BYTES)
    )
    if short:
        raise CannotRun(f"{model.name} can't run so here: {short}.")


def _made_smaller(run: Run, flags: tuple[str, ...]) -> bool:
    """Whether the engine makes the weights smaller while it loads them, by how much nobody here knows."""
    return run.precision == "bf16" and Flags(flags).value("--quantization") not in {"", "fp8"}


def _need(model: ModelVersion, run: Run) -> memory.Need:
    path = Path(model.path)
    if model.preset:
        return memory.need_of(preset(model.preset), run, checkpoint.weight_bytes(path))
    elements, heads = checkpoint.cache_of(path)
    stored = memory.Stored(checkpoint.weight_bytes(path), elements, heads, checkpoint.has_experts(path))
    return memory.need_of_files(stored, run)


def _seen() -> list[DeviceInfo]:
    return [
        DeviceInfo(row.id, row.kind, row.name, row.memory_bytes) for row in Device.objects.filter(memory_bytes__gt=0)
    ]


def _card_of(seen: Sequence[DeviceInfo]) -> str:
    """The catalog's name of the cards that are here; "" where there are none yet, several kinds, or ones it does not know."""
    try:
        return hardware_of(seen)
    except NoProfile:
        return ""


def _on_cpu(card: str, seen: Sequence[DeviceInfo]) -> bool:
    return card == "cpu" or (not card and {device.kind for device in seen} == {"cpu"})


def _memory(card: str, seen: Sequence[DeviceInfo]) -> int:
    """A card's memory here, of machines without any the largest's; 0 where none was seen yet.

    The smallest card of the make that was named; of cards that nobody named the largest: what it can't hold, none can.
    """
    if _on_cpu(card, seen):
        boxes: Counter[str] = Counter()
        for device in seen:
            boxes[box_of(device.id)] += device.memory_bytes if device.kind == "cpu" else 0
        return max(boxes.values(), default=0)
    if not card:
        return max((device.memory_bytes for device in seen if device.kind != "cpu"), default=0)
    kind = "ascend" if card.startswith("910") else "nvidia"
    return min((device.memory_bytes for device in seen if device.kind == kind), default=0)
