"""What has to happen next so that the replicas become what is desired: values in, actions out.

A replica owns its devices from its creation until it is deleted, and no device gets a second owner; one that is lent to
a fine-tune is left alone. A replica for which devices are missing is kept as a failed row without devices, whose reason
shows the arithmetic. Processes that are not ours may leave a device too little memory for an engine: it gets none there.
A replica of several devices gets linked ones where one group has enough of them. A replica that has to go makes way for
its successor first: a place has one row. Applying the actions and planning again ends with no actions: nothing here
depends on anything but the arguments. Which engine runs, how it is started and when it has drained is for the supervisor.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from inference.devices.info import DeviceInfo, device_order
from inference.pool.states import ReplicaState
from inference.pool.store import DesiredDeployment, ReplicaRow


@dataclass(frozen=True)
class Create:
    deployment_id: str
    index: int
    devices: tuple[str, ...]


@dataclass(frozen=True)
class Start:
    replica_id: str
    deployment_id: str


@dataclass(frozen=True)
class Drain:
    """Send it nothing new, let its requests end, then end it."""

    replica_id: str
    reason: str


@dataclass(frozen=True)
class Stop:
    """End it at once: it serves nobody yet."""

    replica_id: str
    reason: str


@dataclass(frozen=True)
class MarkFailed:
    replica_id: str
    from_state: ReplicaState
    reason: str


@dataclass(frozen=True)
class Delete:
    replica_id: str


Action = Create | Start | Drain | Stop | MarkFailed | Delete
Slot = tuple[str, int]  # deployment id, index
Share = tuple[str, ...] | str  # the devices a slot gets, or the reason why it gets none

_S = ReplicaState
_GIB = 1 << 30
_NAMED = 3  # processes that a reason names


def plan(
    desired: Iterable[DesiredDeployment],
    devices: Iterable[DeviceInfo],
    replicas: Iterable[ReplicaRow],
    now: float,
    lent: Collection[str] = (),
    memory_shares: Mapping[str, float] | None = None,
) -> list[Action]:
    """The next actions, for each replica at most one. `now` is in unix seconds, as is `next_start_at`.

    `lent`: the devices that fine-tunes hold at the moment. `memory_shares`: by deployment, the share of a device's memory
    that an engine takes at its start.
    """
    need = memory_shares or {}
    wanted = {(d.id, index): d for d in desired if d.running for index in range(d.replicas)}
    inventory = {device.id: device for device in sorted(devices, key=lambda device: device_order(device.id))}
    rows = sorted(replicas, key=lambda row: (row.life is None, row.deployment_id, row.index, row.id))
    placed, surplus = _sort_out(rows, wanted, inventory, set(lent), need)
    shares = _share_out(wanted, inventory, placed, surplus, set(lent), need)
    actions: list[Action] = []
    for row, reason in surplus:
        actions += _retire(row, reason)
    for slot, row in placed.items():
        actions += _keep(row, wanted[slot], now) if row.devices else _reconsider(row, shares[slot])
    leaving = {(row.deployment_id, row.index) for row, _ in surplus if row.life is not None or row.state is _S.READY}
    for slot in wanted:
        if slot not in placed and slot not in leaving:
            share = shares[slot]
            actions.append(Create(slot[0], slot[1], () if isinstance(share, str) else share))
    return actions


def _sort_out(
    rows: list[ReplicaRow],
    wanted: dict[Slot, DesiredDeployment],
    inventory: dict[str, DeviceInfo],
    lent: set[str],
    need: Mapping[str, float],
) -> tuple[dict[Slot, ReplicaRow], list[tuple[ReplicaRow, str]]]:
    """The rows that fill a wanted slot, and the others with the reason why they have to go."""
    placed: dict[Slot, ReplicaRow] = {}
    surplus: list[tuple[ReplicaRow, str]] = []
    owned: set[str] = set()
    for row in rows:
        slot = (row.deployment_id, row.index)
        reason = next(_misfits(row, wanted.get(slot), inventory, owned, lent, need.get(slot[0], 0.0)), None)
        if reason is None and slot in placed:
            reason = "a second row for the same replica"
        if reason is None:
            placed[slot] = row
        else:
            surplus.append((row, reason))
        owned |= set(row.devices)
    return placed, surplus


def _misfits(
    row: ReplicaRow,
    deployment: DesiredDeployment | None,
    inventory: dict[str, DeviceInfo],
    owned: set[str],
    lent: set[str],
    memory_share: float,
) -> Iterator[str]:
    """The reasons why a row can't stay as it is. `owned`: the devices of rows that come before it."""
    if deployment is None:
        yield "not wanted any more"
        return
    if row.devices and len(row.devices) != deployment.devices_each:
        yield f"has {len(row.devices)} devices, {deployment.devices_each} are wanted"
    for device_id in row.devices:
        device = inventory.get(device_id)
        if device is None:
            yield f"device {device_id} is gone"
        elif not device.healthy:
            yield f"device {device_id} is not healthy: {device.reason}"
        elif device_id in owned:
            yield f"device {device_id} belongs to another replica"
        elif device_id in lent:
            yield f"device {device_id} belongs to a fine-tune"
        elif row.life is None and not _has_room(device, memory_share):
            yield _crowded(device, memory_share)


def _share_out(
    wanted: dict[Slot, DesiredDeployment],
    inventory: dict[str, DeviceInfo],
    placed: dict[Slot, ReplicaRow],
    surplus: list[tuple[ReplicaRow, str]],
    lent: set[str],
    need: Mapping[str, float],
) -> dict[Slot, Share]:
    """Give free devices to the slots that have none, in the order of the deployments, lowest numbers first."""
    held = {device for row in [*placed.values(), *(row for row, _ in surplus)] for device in row.devices}
    free = [d for d in inventory.values() if d.healthy and d.id not in held | lent]
    shares: dict[Slot, Share] = {}
    for slot, deployment in wanted.items():
        if slot in placed and placed[slot].devices:
            continue
        share = need.get(deployment.id, 0.0)
        fitting = [device for device in free if _has_room(device, share)]
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


def _linked(free: list[DeviceInfo], count: int) -> list[DeviceInfo]:
    """The first devices, out of the smallest group of linked ones that has enough; else just the first ones."""
    groups: dict[str, list[DeviceInfo]] = {}
    for device in free:
        groups.setdefault(device.group, []).append(device)
    enough = [group for name, group in groups.items() if name and len(group) >= count]
    if count == 1 or not enough:
        return free[:count]
    return min(enough, key=len)[:count]


def _has_room(device: DeviceInfo, memory_share: float) -> bool:
    return device.foreign_bytes <= device.memory_bytes * (1 - memory_share)


def _crowded(device: DeviceInfo, memory_share: float) -> str:
    """Whole GiB only: a reason that changes with every reading would be written anew each time."""
    names = ", ".join(f"{process.name or 'process'} {process.pid}" for process in device.foreign[:_NAMED])
    taken, total = -(-device.foreign_bytes // _GIB), device.memory_bytes // _GIB
    wanted = -(-int(device.memory_bytes * memory_share) // _GIB)
    return f"{device.id} has {taken} of its {total} GiB taken by others ({names}), an engine takes {wanted}"


def _shortage(
    needed: int, inventory: dict[str, DeviceInfo], free: int, lent: int, crowded: list[DeviceInfo], memory_share: float
) -> str:
    unhealthy = [device for device in inventory.values() if not device.healthy]
    taken = len(inventory) - len(unhealthy) - free
    by_fine_tunes = f" ({lent} by fine-tunes)" if lent else ""
    have = f"{len(inventory)} here, {taken} taken{by_fine_tunes}, {len(unhealthy)} not healthy, {free} free"
    why = [f"{device.id} is not healthy: {device.reason}" for device in unhealthy]
    why += [_crowded(device, memory_share) for device in crowded]
    return "; ".join([f"not enough devices: it needs {needed}", have, *why])


def _retire(row: ReplicaRow, reason: str) -> Iterator[Action]:
    if row.state is _S.READY:
        yield Drain(row.id, reason)
    elif row.life is not None:
        if row.state is not _S.DRAINING:  # draining already has its end before it
            yield Stop(row.id, reason)
    else:
        yield Delete(row.id)


def _keep(row: ReplicaRow, deployment: DesiredDeployment, now: float) -> Iterator[Action]:
    # starting without a life: the supervisor died between the two
    idle = row.state in {_S.STOPPED, _S.FAILED, _S.STARTING} and row.life is None
    if idle and (row.next_start_at is None or row.next_start_at <= now):
        yield Start(row.id, deployment.id)


def _reconsider(row: ReplicaRow, share: Share) -> Iterator[Action]:
    """A row without devices: it makes way once there are some, else it says why there are none."""
    if not isinstance(share, str):
        yield Delete(row.id)
    elif row.state is not _S.FAILED:
        yield MarkFailed(row.id, row.state, share)
    elif row.reason != share:
        yield Delete(row.id)  # a failed row keeps its reason; a new row gets today's
