"""Which devices a replica gets: free ones, linked ones for an engine over several, none that others have filled."""

from collections.abc import Iterable, Mapping

from inference.devices.info import DeviceInfo
from inference.pool.store import DesiredDeployment, ReplicaRow

Slot = tuple[str, int]  # deployment id, index
Share = tuple[str, ...] | str  # the devices a slot gets, or the reason why it gets none

_GIB = 1 << 30
_NAMED = 3  # processes that a reason names


def share_out(
    wanted: Mapping[Slot, DesiredDeployment],
    inventory: Mapping[str, DeviceInfo],
    placed: Mapping[Slot, ReplicaRow],
    leaving: Iterable[ReplicaRow],
    lent: set[str],
    need: Mapping[str, float],
) -> dict[Slot, Share]:
    """Give free devices to the slots that have none, in the order of the deployments, lowest numbers first.

    `leaving`: rows that have to go and own their devices until they are gone. `need`: by deployment, the share of a
    device's memory that an engine takes at its start.
    """
    free = free_devices(inventory, [*placed.values(), *leaving], lent)
    shares: dict[Slot, Share] = {}
    for slot, deployment in wanted.items():
        if slot in placed and placed[slot].devices:
            continue
        share = need.get(deployment.id, 0.0)
        fitting = [device for device in free if has_room(device, share)]
        if deployment.devices_each <= len(fitting):
            chosen = _linked(fitting, deployment.devices_each)
            shares[slot] = tuple(device.id for device in chosen)
            free = [device for device in free if device not in chosen]
        else:
            crowded = [device for device in free if device not in fitting]
            shares[slot] = _shortage(
                deployment.devices_each, inventory, len(free), len(lent & inventory.keys()), crowded, share
            )
    return shares


def free_devices(inventory: Mapping[str, DeviceInfo], rows: Iterable[ReplicaRow], lent: set[str]) -> list[DeviceInfo]:
    """The healthy devices that no row and no fine-tune has."""
    taken = lent.union(*(row.devices for row in rows))
    return [device for device in inventory.values() if device.healthy and device.id not in taken]


def _linked(free: list[DeviceInfo], count: int) -> list[DeviceInfo]:
    """The first devices, out of the smallest group of linked ones that has enough; else just the first ones."""
    groups: dict[str, list[DeviceInfo]] = {}
    for device in free:
        groups.setdefault(device.group, []).append(device)
    enough = [group for name, group in groups.items() if name and len(group) >= count]
    if count == 1 or not enough:
        return free[:count]
    return min(enough, key=len)[:count]


def has_room(device: DeviceInfo, memory_share: float) -> bool:
    """Whether others' processes leave an engine the share of the memory that it takes at its start."""
    return device.foreign_bytes <= device.memory_bytes * (1 - memory_share)


def crowded_reason(device: DeviceInfo, memory_share: float) -> str:
    """Whole GiB only: a reason that changes with every reading would be written anew each time."""
    names = ", ".join(f"{process.name or 'process'} {process.pid}" for process in device.foreign[:_NAMED])
    taken, total = -(-device.foreign_bytes // _GIB), device.memory_bytes // _GIB
    wanted = -(-int(device.memory_bytes * memory_share) // _GIB)
    return f"{device.id} has {taken} of its {total} GiB taken by others ({names}), an engine takes {wanted}"


def _shortage(
    needed: int,
    inventory: Mapping[str, DeviceInfo],
    free: int,
    lent: int,
    crowded: list[DeviceInfo],
    memory_share: float,
) -> str:
    unhealthy = [device for device in inventory.values() if not device.healthy]
    taken = len(inventory) - len(unhealthy) - free
    by_fine_tunes = f" ({lent} by fine-tunes)" if lent else ""
    have = f"{len(inventory)} here, {taken} taken{by_fine_tunes}, {len(unhealthy)} not healthy, {free} free"
    why = [f"{device.id} is not healthy: {device.reason}" for device in unhealthy]
    why += [crowded_reason(device, memory_share) for device in crowded]
    return "; ".join([f"not enough devices: it needs {needed}", have, *why])
