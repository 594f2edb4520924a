"""Which devices a replica gets: free ones that others have not filled; those it is pinned to and no other, where it is.

Pinned deployments choose before the others, and what they are pinned to is kept for one that waits for more of it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from inference.devices.info import DeviceInfo, box_of
from inference.pool.rolling import BESIDE
from inference.pool.store import DesiredDeployment, ReplicaRow
from inference.pool.strategies import DEFAULT, STRATEGIES

Slot = tuple[str, int]  # deployment id, index
Share = tuple[str, ...] | str  # the devices a slot gets, or the reason why it gets none

_GIB = 1 << 30
_NAMED = 3  # processes that a reason names
_ENDING = "an engine that ends"


def share_out(
    wanted: Mapping[Slot, DesiredDeployment],
    inventory: Mapping[str, DeviceInfo],
    placed: Mapping[Slot, ReplicaRow],
    leaving: Iterable[ReplicaRow],
    lent: set[str],
    need: Mapping[str, float],
) -> dict[Slot, Share]:
    """Give free devices to the slots that have none: pinned deployments first, then the others in their order.

    `leaving`: rows that have to go and own their devices until they are gone. `need`: by deployment, the share of a
    device's memory that an engine takes at its start.
    """
    box = _Box(wanted, inventory, placed, leaving, lent)
    # stand-ins come last: they are nothing to wait for
    turns = sorted(wanted, key=lambda slot: (slot[1] == BESIDE, not wanted[slot].pinned))
    waiting = [slot for slot in turns if slot not in placed or not placed[slot].devices]
    return {slot: box.give(slot, wanted[slot], need.get(slot[0], 0.0)) for slot in waiting}


def free_devices(inventory: Mapping[str, DeviceInfo], rows: Iterable[ReplicaRow], lent: set[str]) -> list[DeviceInfo]:
    """The healthy devices that no row and no fine-tune has."""
    taken = lent.union(*(row.devices for row in rows))
    return [device for device in inventory.values() if device.healthy and device.id not in taken]


def has_room(device: DeviceInfo, memory_share: float) -> bool:
    """Whether others' processes leave an engine the share of the memory that it takes at its start."""
    return device.foreign_bytes <= device.memory_bytes * (1 - memory_share)


def crowded_reason(device: DeviceInfo, memory_share: float) -> str:
    """Whole GiB only: a reason that changes with every reading would be written anew each time."""
    names = ", ".join(f"{process.name or 'process'} {process.pid}" for process in device.foreign[:_NAMED])
    taken, total = -(-device.foreign_bytes // _GIB), device.memory_bytes // _GIB
    wanted = -(-int(device.memory_bytes * memory_share) // _GIB)
    return f"{device.id} has {taken} of its {total} GiB taken by others ({names}), an engine takes {wanted}"


def on_one_box(devices: list[DeviceInfo], count: int) -> list[DeviceInfo]:
    """The devices that an engine over so many may be given: of one machine that has enough, this one first."""
    boxes: dict[str, list[DeviceInfo]] = {}
    for device in devices:
        boxes.setdefault(box_of(device.id), []).append(device)
    if count <= 1 or len(boxes) <= 1:
        return devices
    enough = [box for box in sorted(boxes) if len(boxes[box]) >= count]
    return boxes[enough[0]] if enough else []


class _Box:
    """Devices and who has them, while they are given away."""

    def __init__(
        self,
        wanted: Mapping[Slot, DesiredDeployment],
        inventory: Mapping[str, DeviceInfo],
        placed: Mapping[Slot, ReplicaRow],
        leaving: Iterable[ReplicaRow],
        lent: set[str],
    ) -> None:
        leaving = list(leaving)
        self._inventory = inventory
        self._lent = lent & inventory.keys()
        self._free = free_devices(inventory, [*placed.values(), *leaving], lent)
        self._kept: set[str] = set()
        self._owners = {device_id: _ENDING for row in leaving for device_id in row.devices}
        self._siblings: dict[str, Counter[str]] = {}
        for slot, row in placed.items():
            self._own(wanted[slot], row.devices)

    def give(self, slot: Slot, deployment: DesiredDeployment, memory_share: float) -> Share:
        """Devices for one engine, which are its own from now on, or why there are none."""
        roomy = [device for device in self._open_to(deployment) if has_room(device, memory_share)]
        fitting = on_one_box(roomy, deployment.devices_each)
        if len(fitting) < deployment.devices_each:
            if slot[1] != BESIDE:
                self._kept |= set(deployment.pinned)
            return self._shortage(deployment, memory_share)
        choose = STRATEGIES.get(deployment.placement, STRATEGIES[DEFAULT])
        chosen = choose(fitting, deployment.devices_each, self._siblings.get(deployment.id, {}))
        self._free = [device for device in self._free if device not in chosen]
        share = tuple(device.id for device in chosen)
        self._own(deployment, share)
        return share

    def _open_to(self, deployment: DesiredDeployment) -> list[DeviceInfo]:
        if deployment.pinned:
            return [device for device in self._free if device.id in deployment.pinned]
        return [device for device in self._free if device.id not in self._kept]

    def _own(self, deployment: DesiredDeployment, devices: Iterable[str]) -> None:
        siblings = self._siblings.setdefault(deployment.id, Counter())
        for device_id in devices:
            self._owners[device_id] = deployment.name
            if device_id in self._inventory:
                siblings[self._inventory[device_id].group] += 1

    def _shortage(self, deployment: DesiredDeployment, memory_share: float) -> str:
        if deployment.pinned:
            pinned = f"it needs {deployment.devices_each} of {', '.join(deployment.pinned)}, to which it is pinned"
            why = [self._obstacle(device_id, memory_share) for device_id in deployment.pinned]
            return "; ".join([f"not enough devices: {pinned}", *filter(None, why)])
        free = self._open_to(deployment)
        unhealthy = [device for device in self._inventory.values() if not device.healthy]
        taken = len(self._inventory) - len(unhealthy) - len(self._free)
        by_fine_tunes = f" ({len(self._lent)} by fine-tunes)" if self._lent else ""
        have = (
            f"{len(self._inventory)} here, {taken} taken{by_fine_tunes}, {len(unhealthy)} not healthy, {len(free)} free"
        )
        kept = len(self._free) - len(free)
        have += f", {kept} kept for pinned models" if kept else ""
        why = [f"{device.id} is not healthy: {device.reason}" for device in unhealthy]
        roomy = [device for device in free if has_room(device, memory_share)]
        why += ["no machine has so many by itself"] if len(roomy) >= deployment.devices_each else []
        why += [crowded_reason(device, memory_share) for device in free if not has_room(device, memory_share)]
        return "; ".join([f"not enough devices: it needs {deployment.devices_each}", have, *self._told(), *why])

    def _told(self) -> list[str]:
        """Who has which devices, in the devices' order."""
        theirs: dict[str, list[str]] = {}
        for device_id in self._inventory:
            if device_id in self._owners:
                theirs.setdefault(self._owners[device_id], []).append(device_id)
        return [f"{owner} has {', '.join(devices)}" for owner, devices in theirs.items()]

    def _obstacle(self, device_id: str, memory_share: float) -> str:
        device = self._inventory.get(device_id)
        if device is None:
            return f"{device_id} is not here"
        if not device.healthy:
            return f"{device_id} is not healthy: {device.reason}"
        if device_id in self._owners:
            return f"{device_id} is taken by {self._owners[device_id]}"
        if device_id in self._lent:
            return f"{device_id} is taken by a fine-tune"
        return "" if has_room(device, memory_share) else crowded_reason(device, memory_share)
