"""Whether a model version may be started as asked: what the catalog knows against it is told before anything starts."""

from __future__ import annotations

from pathlib import Path

from appliance.fleet.models import Device
from appliance.registry.models import ModelVersion
from inference.catalog.advice import refuse
from inference.catalog.checkpoint import stored_precision
from inference.catalog.errors import BadFlags
from inference.catalog.load import preset
from inference.catalog.run import of_flags
from inference.engines.vllm import OWN_FLAGS

NEVER = frozenset({"--trust-remote-code"})  # a checkpoint's own code is never run


def refuse_misfit(
    model: ModelVersion, flags: tuple[str, ...], devices_each: int, card: str, sequences: int = 1
) -> None:
    """Let through what nothing is known against. `card` is the catalog's name, "" where nobody said which it is.

    `sequences`: how many of full length must fit an engine at once.
    Raises: CatalogError with the reason and, where there is one, the nearest way that works.
    """
    taken = sorted((OWN_FLAGS | NEVER) & {flag.partition("=")[0].replace("_", "-") for flag in flags})
    if taken:
        raise BadFlags(f"a deployment can't set {', '.join(taken)}: the pool decides that")
    if not (model.preset and card):
        of_flags(flags, devices_each, "", model.max_model_len)  # flags that can't be read never start
        return
    run = of_flags(flags, devices_each, stored_precision(Path(model.path)), model.max_model_len)
    refuse(preset(model.preset), card, run, _smallest_memory(card), sequences)


def _smallest_memory(card: str) -> int:
    """What the smallest card here has; 0 where the shares of a CPU box say nothing, or none was seen yet."""
    if card == "cpu":
        return 0
    sizes = Device.objects.exclude(kind="cpu").values_list("memory_bytes", flat=True)
    return min(sizes, default=0)
