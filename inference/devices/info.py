"""What the pool knows about one accelerator or one share of a CPU box.

Plain values only: reading them belongs to the device kinds beside this module, giving devices to replicas to the
pool's plan.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class DeviceInfo:
    """One device at one moment. `cores` is filled for CPU shares only; `reason` says why it is not healthy."""

    id: str
    kind: str
    name: str
    memory_bytes: int
    memory_used_bytes: int | None = None
    utilisation: float | None = None
    temperature_c: int | None = None
    cores: tuple[int, ...] = ()
    healthy: bool = True
    reason: str = ""


def device_order(device_id: str) -> tuple[str, int]:
    """Sort key that puts `cpu:10` after `cpu:2`."""
    kind, _, number = device_id.partition(":")
    return kind, int(number) if number.isdigit() else 0
