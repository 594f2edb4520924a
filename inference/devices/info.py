"""What the pool knows about one accelerator or one share of a CPU box.

Plain values only: reading them belongs to the device kinds beside this module, giving devices to replicas to the
pool's plan.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class DeviceProcess:
    """A process that uses a device; `memory_bytes` is None where the driver does not tell it."""

    pid: int
    name: str = ""
    memory_bytes: int | None = None


@dataclass(frozen=True)
class DeviceInfo:
    """One device at one moment. `cores` is filled for CPU shares only.

    `reason` says why it is not healthy, or what is to be known of one that is. Devices of one `group` have a fast link
    to each other. `processes` are all that the driver names; `foreign` those of them that the pool does not know.
    """

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
    power_w: float | None = None
    group: str = ""
    processes: tuple[DeviceProcess, ...] = ()
    foreign: tuple[DeviceProcess, ...] = ()

    @property
    def foreign_bytes(self) -> int:
        """The memory that processes which are not ours hold; all that is used where one of them does not tell."""
        known = [process.memory_bytes for process in self.foreign if process.memory_bytes is not None]
        if len(known) < len(self.foreign):
            return max(sum(known), self.memory_used_bytes or 0)
        return sum(known)


def device_order(device_id: str) -> tuple[str, int]:
    """Sort key that puts `cpu:10` after `cpu:2`."""
    kind, _, number = device_id.partition(":")
    return kind, int(number) if number.isdigit() else 0


def box_of(device_id: str) -> str:
    """The machine that has a device, "" for this one: `box-b/nvidia:3` is the fourth card of box-b."""
    box, slash, _ = device_id.rpartition("/")
    return box if slash else ""


def on_box(device: DeviceInfo, box: str) -> DeviceInfo:
    """A device of another machine under the name it has here. Links never join two machines."""
    return replace(device, id=f"{box}/{device.id}", group=f"{box}/{device.group}")


def there(device: DeviceInfo) -> DeviceInfo:
    """The same under the name it has on its own machine."""
    box = box_of(device.id)
    return replace(device, id=device.id.removeprefix(f"{box}/"), group=device.group.removeprefix(f"{box}/"))
