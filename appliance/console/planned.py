"""A fine-tune's plan as its page shows it: each part of the memory and of the disk by name, and how long training takes."""

from __future__ import annotations

from typing import Any

from django.utils.translation import pgettext_lazy

MEMORY: dict[str, Any] = {
    "weights": pgettext_lazy("fine-tune's memory", "the base's weights"),
    "adapter": pgettext_lazy("fine-tune's memory", "the adapter"),
    "gradients": pgettext_lazy("fine-tune's memory", "gradients"),
    "optimizer": pgettext_lazy("fine-tune's memory", "the optimizer's state"),
    "activations": pgettext_lazy("fine-tune's memory", "activations"),
    "runtime": pgettext_lazy("fine-tune's memory", "libraries and rows"),
}
DISK: dict[str, Any] = {
    "dataset": pgettext_lazy("fine-tune's disk", "rows"),
    "checkpoints": pgettext_lazy("fine-tune's disk", "checkpoints"),
    "adapter": pgettext_lazy("fine-tune's disk", "the adapter"),
    "merged": pgettext_lazy("fine-tune's disk", "the merged model"),
}


def planned(plan: dict[str, Any] | None) -> dict[str, Any] | None:
    """The plan with names for its parts; None where there is none yet."""
    if plan is None:
        return None
    time = plan["time"]
    return {
        "device": plan["device"],
        "memory": plan["memory"],
        "memory_parts": _parts(plan["memory"], MEMORY),
        "disk": plan["disk"],
        "disk_parts": _parts(plan["disk"], DISK),
        "time": time,
        "milliseconds": [seconds * 1000 for seconds in time["seconds"]] if time else [],
    }


def _parts(sizes: dict[str, int] | None, names: dict[str, Any]) -> list[tuple[Any, int]]:
    return [(name, sizes[part]) for part, name in names.items() if sizes.get(part)] if sizes else []
