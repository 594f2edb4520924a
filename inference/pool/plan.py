"""What has to happen next so that the replicas become what is desired: values in, actions out.

A replica owns its devices from its creation until it is deleted, and no device gets a second owner; one that is lent to
a fine-tune is left alone. A replica for which devices are missing is kept as a failed row without devices, whose reason
shows the arithmetic. Applying the actions and planning again ends with no actions: nothing here depends on anything but
the arguments. Which engine runs, how it is started and when it has drained is for the supervisor.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from inference.devices.info import DeviceInfo, device_order
from inference.pool import rolling
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


def plan(
    desired: Iterable[DesiredDeployment],
    devices: Iterable[DeviceInfo],
    replicas: Iterable[ReplicaRow],
    now: float,
    lent: Collection[str] = (),
) -> list[Action]:
    """The next actions, for each replica at most one. `now` is in unix seconds, as is `next_start_at`.

    `lent`: the devices that fine-tunes hold at the moment.
    """
    desired = list(desired)
    inventory = {device.id: device for device in sorted(devices, key=lambda device: device_order(device.id))}
    rows = sorted(replicas, key=lambda row: (row.life is None, row.deployment_id, row.index, row.id))
    wanted = {(d.id, index): d for d in desired if d.running for index in range(d.replicas)}
    num_free = len(_free(inventory, rows, set(lent)))
    beside = rolling.stand_ins(desired, rows, num_free)
    wanted |= {(d.id, rolling.BESIDE): d for d in desired if d.id in beside}
    placed, surplus = _sort_out(rows, wanted, inventory, set(lent))
    shares = _share_out(wanted, inventory, placed, surplus, set(lent))
    actions: list[Action] = []
    for row, reason in surplus:
        actions += _retire(row, reason)
    makes_way = _outdated(desired, placed)
    for slot, row in placed.items():
        if row.id in makes_way:
            actions += _retire(row, rolling.REASON)
        else:
            actions += _keep(row, wanted[slot], now) if row.devices else _reconsider(row, shares[slot])
    for slot in wanted:
        if slot not in placed:
            share = shares[slot]
            if not isinstance(share, str):
                actions.append(Create(*slot, share))
            elif slot[1] != rolling.BESIDE:  # a stand-in is nothing to wait for
                actions.append(Create(*slot, ()))
    return actions


def _sort_out(
    rows: list[ReplicaRow],
    wanted: dict[Slot, DesiredDeployment],
    inventory: dict[str, DeviceInfo],
    lent: set[str],
) -> tuple[dict[Slot, ReplicaRow], list[tuple[ReplicaRow, str]]]:
    """The rows that fill a wanted slot, and the others with the reason why they have to go."""
    placed: dict[Slot, ReplicaRow] = {}
    surplus: list[tuple[ReplicaRow, str]] = []
    owned: set[str] = set()
    for row in rows:
        slot = (row.deployment_id, row.index)
        reason = next(_misfits(row, wanted.get(slot), inventory, owned, lent), None)
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


def _share_out(
    wanted: dict[Slot, DesiredDeployment],
    inventory: dict[str, DeviceInfo],
    placed: dict[Slot, ReplicaRow],
    surplus: list[tuple[ReplicaRow, str]],
    lent: set[str],
) -> dict[Slot, Share]:
    """Give free devices to the slots that have none, in the order of the deployments, lowest numbers first."""
    free = _free(inventory, [*placed.values(), *(row for row, _ in surplus)], lent)
    shares: dict[Slot, Share] = {}
    for slot, deployment in wanted.items():
        if slot in placed and placed[slot].devices:
            continue
        if deployment.devices_each <= len(free):
            shares[slot] = tuple(free[: deployment.devices_each])
            free = free[deployment.devices_each :]
        else:
            shares[slot] = _shortage(deployment.devices_each, inventory, len(free), len(lent & inventory.keys()))
    return shares


def _free(inventory: dict[str, DeviceInfo], rows: Iterable[ReplicaRow], lent: set[str]) -> list[str]:
    taken = lent.union(*(row.devices for row in rows))
    return [device.id for device in inventory.values() if device.healthy and device.id not in taken]


def _outdated(desired: Iterable[DesiredDeployment], placed: dict[Slot, ReplicaRow]) -> set[str]:
    """The ids of the rows whose engines end now because they run in an older way."""
    of_deployment: dict[str, list[ReplicaRow]] = {}
    for row in placed.values():
        of_deployment.setdefault(row.deployment_id, []).append(row)
    return {row.id for d in desired for row in rolling.outdated(d, of_deployment.get(d.id, []))}


def _shortage(needed: int, inventory: dict[str, DeviceInfo], free: int, lent: int) -> str:
    unhealthy = sum(not device.healthy for device in inventory.values())
    taken = len(inventory) - unhealthy - free
    by_fine_tunes = f" ({lent} by fine-tunes)" if lent else ""
    have = f"{len(inventory)} here, {taken} taken{by_fine_tunes}, {unhealthy} not healthy, {free} free"
    return f"not enough devices: it needs {needed}; {have}"


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
