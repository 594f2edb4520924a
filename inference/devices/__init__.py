"""Which accelerators this machine has.

A kind of device is one module with `probe(cpu_devices)`, named in one line of `DEVICE_KINDS`. Who may use a device is
decided elsewhere (inference/pool/plan.py).
"""

from collections.abc import Callable
from typing import Protocol

from inference.devices import ascend, cpu, nvidia
from inference.devices.errors import UnknownDeviceKind
from inference.devices.info import DeviceInfo, DeviceProcess, device_order

__all__ = ["DEVICE_KINDS", "DeviceInfo", "DeviceProcess", "Probe", "detect", "device_order", "open_probe"]


class Probe(Protocol):
    """Reads the same devices again and again; keeps what a rate needs between two readings."""

    def read(self) -> list[DeviceInfo]: ...


# Order matters: `auto` takes the first kind that finds a device, and the CPU is always there.
DEVICE_KINDS: dict[str, Callable[[int | None], Probe]] = {
    "nvidia": nvidia.probe,
    "ascend": ascend.probe,
    "cpu": cpu.probe,
}


class AutoProbe:
    """Whatever this machine has, looked for at the first reading and kept from then on."""

    def __init__(self, cpu_devices: int | None) -> None:
        self._cpu_devices = cpu_devices
        self._chosen: Probe | None = None

    def read(self) -> list[DeviceInfo]:
        """Raises: DeviceError when there are cards that can't be read: the CPU is no substitute for them."""
        if self._chosen is not None:
            return self._chosen.read()
        for make in DEVICE_KINDS.values():
            probe = make(self._cpu_devices)
            devices = probe.read()
            if devices:
                self._chosen = probe
                return devices
        return []


def open_probe(kind: str = "auto", cpu_devices: int | None = None) -> Probe:
    """The probe for a kind of device, or for whatever this machine has. It reads nothing yet.

    Raises: UnknownDeviceKind when the kind is not registered.
    """
    if kind == "auto":
        return AutoProbe(cpu_devices)
    if kind not in DEVICE_KINDS:
        known = ", ".join(["auto", *DEVICE_KINDS])
        raise UnknownDeviceKind(f"device kind {kind!r} is not known; it is one of: {known}")
    return DEVICE_KINDS[kind](cpu_devices)


def detect(kind: str = "auto", cpu_devices: int | None = None) -> list[DeviceInfo]:
    """One reading of the machine's devices."""
    return open_probe(kind, cpu_devices).read()
