"""Which accelerators this machine has.

A kind of device is one module with `probe(cpu_devices)`, named in one line of `DEVICE_KINDS`. Who may use a device is
decided elsewhere (inference/pool/plan.py).
"""

from collections.abc import Callable
from typing import Protocol

from inference.devices import cpu, nvidia
from inference.devices.errors import UnknownDeviceKind
from inference.devices.info import DeviceInfo, device_order

__all__ = ["DEVICE_KINDS", "DeviceInfo", "Probe", "detect", "device_order", "open_probe"]


class Probe(Protocol):
    """Reads the same devices again and again; keeps what a rate needs between two readings."""

    def read(self) -> list[DeviceInfo]: ...


# Order matters: `auto` takes the first kind that finds a device, and the CPU is always there.
DEVICE_KINDS: dict[str, Callable[[int | None], Probe]] = {
    "nvidia": nvidia.probe,
    "cpu": cpu.probe,
}


def open_probe(kind: str = "auto", cpu_devices: int | None = None) -> Probe:
    """The probe for a kind of device, or for whatever this machine has.

    Raises: UnknownDeviceKind when the kind is not registered.
    """
    if kind == "auto":
        probes = (make(cpu_devices) for make in DEVICE_KINDS.values())
        return next(probe for probe in probes if probe.read())
    if kind not in DEVICE_KINDS:
        known = ", ".join(["auto", *DEVICE_KINDS])
        raise UnknownDeviceKind(f"device kind {kind!r} is not known; it is one of: {known}")
    return DEVICE_KINDS[kind](cpu_devices)


def detect(kind: str = "auto", cpu_devices: int | None = None) -> list[DeviceInfo]:
    """One reading of the machine's devices."""
    return open_probe(kind, cpu_devices).read()
