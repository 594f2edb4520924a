"""From the cards of a box to the hardware that presets have profiles for. What a profile says is the presets' business."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from inference.catalog.errors import NoProfile
from inference.catalog.hardware import HARDWARE
from inference.devices.info import DeviceInfo

# By the names that drivers give; where two cards have one name their memory tells them apart.
_NAMES = (
    (r"NVIDIA H20(-3e)?", ("h20-96", "h20-141")),
    (r"NVIDIA H800( PCIe| NVL)?", ("h800",)),
    (r"NVIDIA H100( PCIe| 80GB HBM3)?", ("h100",)),
    (r"NVIDIA H200( NVL)?", ("h200",)),
    (r"(NVIDIA )?A100[- ](SXM4-80GB|SXM-80GB|PCIE-80GB|80GB PCIe)", ("a100",)),
    (r"(NVIDIA )?A800[- ](SXM4-80GB|SXM-80GB|PCIE-80GB|80GB PCIe)", ("a800",)),
    (r"NVIDIA L40S", ("l40s",)),
    (r"Ascend 910B2C?", ("910b2",)),
    (r"Ascend 910B3", ("910b3",)),
    (r"Ascend 910B4", ("910b4",)),
)
_LEAST, _MOST = 0.95, 1.12  # of a card's nominal gigabytes: drivers count in other units and keep a little


def hardware_of(devices: Sequence[DeviceInfo]) -> str:
    """The name of this box's hardware in the catalog. Cards that can't be read don't count.

    Raises: NoProfile when there are several kinds of card, or one that no preset has flags for.
    """
    readable = [device for device in devices if device.kind == "cpu" or device.memory_bytes > 0]
    if not readable:
        raise NoProfile("no device of this box can be read, so its hardware is not known: name a profile")
    kinds = Counter((_hardware(device), _told(device)) for device in readable)
    if len({hardware for hardware, _ in kinds}) > 1:
        found = ", ".join(
            f"{count} × {told}" for (_, told), count in sorted(kinds.items(), key=lambda item: item[0][1])
        )
        raise NoProfile(f"this box has cards of several kinds ({found}), and a profile is for one: name it")
    hardware, told = next(iter(kinds))
    if hardware is None:
        raise NoProfile(f"no preset has flags for {told}: there are {', '.join(HARDWARE)}")
    return hardware


def _hardware(device: DeviceInfo) -> str | None:
    if device.kind == "cpu":
        return "cpu"
    named = next((names for pattern, names in _NAMES if re.fullmatch(pattern, device.name)), ())
    sizes = {name: device.memory_bytes / HARDWARE[name].memory_bytes for name in named}
    return next((name for name, share in sizes.items() if _LEAST <= share <= _MOST), None)


def _told(device: DeviceInfo) -> str:
    return device.name if device.kind == "cpu" else f"{device.name} with {device.memory_bytes / 1e9:.0f} GB"
