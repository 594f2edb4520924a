"""Which vLLM build a machine gets: a pure choice from a few facts, and the reading of those facts.

Telling cards of one kind apart (an H20 from an H800) is left to inference.devices.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ops.slots.errors import UnknownFlavour

FLAVOURS = ("cpu", "cuda", "ascend")


@dataclass(frozen=True)
class MachineFacts:
    """What of the machine decides the flavour."""

    nvidia_driver: bool
    ascend_devices: bool
    npu_smi: bool


def read_facts(root: Path = Path("/")) -> MachineFacts:
    """Look at the running machine; `root` lets a test lay out another one."""
    ascend = any(device.name[len("davinci") :].isdigit() for device in (root / "dev").glob("davinci*"))
    return MachineFacts(
        nvidia_driver=(root / "proc/driver/nvidia/version").exists() or (root / "dev/nvidiactl").exists(),
        ascend_devices=ascend,
        npu_smi=shutil.which("npu-smi") is not None or (root / "usr/local/sbin/npu-smi").exists(),
    )


def choose(facts: MachineFacts, override: str | None = None) -> str:
    """Return "cpu", "cuda" or "ascend"; an override (other than "auto") wins over what the machine has.

    Raises: UnknownFlavour when the override names none of them.
    """
    if override and override != "auto":
        if override not in FLAVOURS:
            raise UnknownFlavour(f"engine flavour {override!r} is unknown: use one of auto, {', '.join(FLAVOURS)}")
        return override
    if facts.nvidia_driver:
        return "cuda"
    if facts.ascend_devices or facts.npu_smi:
        return "ascend"
    return "cpu"
