"""What has to happen next so that the replicas become what is desired: values in, actions out.

A replica owns its devices from its creation until it is deleted, and no device gets a second owner; one that is lent to a
fine-tune is left alone, and the replica that lent it waits for it (lending.py). A replica for which devices are missing is
kept as a failed row without devices, whose reason shows the arithmetic. Processes that are not ours may leave a device too
little memory for an engine: it gets none there. Which devices a replica gets is placement's. A replica that has to go makes
way for its successor first: a place has one row. Applying the actions and planning again ends with no actions: nothing here
depends on anything but the arguments. Which engine runs, how it is started and when it has drained is for the supervisor.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from inference.devices.info import DeviceInfo, device_order
from inference.pool import rolling
from inference.pool.placement import Share, Slot, crowded_reason, free_devices, has_room, share_out
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

_S = ReplicaState
NOT_WANTED = "not wanted any more"


def plan(
    desired: Iterable[DesiredDeployment],
    devices: Iterable[DeviceInfo],
    replicas: Iterable[ReplicaRow],
    now: float,
    lent: Collection[str] = (),
    memory_shares: Mapping[str, float] | None = None,
    loading: Collection[str] = (),
) -> list[Action]:
    """The next actions, for each replica at most one. `now` is in unix seconds, as is `next_start_at`.

    `lent`: the devices that fine-tunes hold at the moment. `memory_shares`: by deployment, the share of a device's memory
    that an engine takes at its start. `loading`: the replicas whose engines lack adapters that they are to have.
    """
    seating = _seat(list(desired), devices, replicas, set(lent), memory_shares or {}, loading)
    actions: list[Action] = []
    stays = _last_ones(seating.surplus, seating.placed.values())
    for row, reason in seating.surplus:
        if row.id not in stays:
            actions += _retire(row, reason)
    for slot, row in seating.placed.items():
        if row.id in seating.makes_way:
            actions += _retire(row, rolling.REASON)
        elif row.devices:
            actions += _keep(row, seating.wanted[slot], now)
        else:
            actions += _reconsider(row, seating.shares[slot])
    leaving = {
        (row.deployment_id, row.index) for row, _ in seating.surplus if row.life is not None or row.state is _S.READY
    }
    for slot in seating.wanted:
        if slot not in seating.placed and slot not in leaving:
            share = seating.shares[slot]
            if not isinstance(share, str):
                actions.append(Create(*slot, share))
            elif slot[1] != rolling.BESIDE:  # a stand-in is nothing to wait for
                actions.append(Create(*slot, ()))
    return actions


def others_serve(deployment: DesiredDeployment, reason: str) -> bool:
    """Whether an engine that is drained for this reason leaves others that serve, so that its requests may take their time."""
    if reason == rolling.REASON:
        return deployment.replicas > 1 or not deployment.may_pause
    return reason == NOT_WANTED and wants_engines(deployment)


def wants_engines(deployment: DesiredDeployment | None) -> bool:
    """Whether any engine of it is to run."""
    return deployment is not None and deployment.running and deployment.replicas > 0


def shortages(
    desired: Iterable[DesiredDeployment],
    devices: Iterable[DeviceInfo],
    replicas: Iterable[ReplicaRow],
    lent: Collection[str] = (),
    memory_shares: Mapping[str, float] | None = None,
) -> dict[Slot, str]:
    """The replicas for which there are no devices at this moment, each with the reason that its row is going to have."""
    shares = _seat(list(desired), devices, replicas, set(lent), memory_shares or {}).shares
    return {slot: share for slot, share in shares.items() if isinstance(share, str) and slot[1] != rolling.BESIDE}


@dataclass(frozen=True)
class _Seating:
    """Who is wanted, who has a place, who has to go and why, whose engines end now, and what the others get."""

    wanted: dict[Slot, DesiredDeployment]
    placed: dict[Slot, ReplicaRow]
    surplus: list[tuple[ReplicaRow, str]]
    makes_way: set[str]
    shares: dict[Slot, Share]


def _seat(
    desired: list[DesiredDeployment],
    devices: Iterable[DeviceInfo],
    replicas: Iterable[ReplicaRow],
    lent: set[str],
    need: Mapping[str, float],
    loading: Collection[str] = (),
) -> _Seating:
    inventory = {device.id: device for device in sorted(devices, key=lambda device: device_order(device.id))}
    rows = sorted(replicas, key=lambda row: (row.life is None, row.deployment_id, row.index, row.id))
    wanted = {(d.id, index): d for d in desired if d.running for index in range(d.replicas)}
    free = free_devices(inventory, rows, lent)
    beside = rolling.stand_ins(desired, rows, [device.id for device in free], loading)
    wanted |= {(d.id, rolling.BESIDE): d for d in desired if d.id in beside}
    placed, surplus = _sort_out(rows, wanted, inventory, lent, need)
    shares = share_out(wanted, inventory, placed, [row for row, _ in surplus], lent, need)
    given = {device_id for share in shares.values() if not isinstance(share, str) for device_id in share}
    left = [device for device in free if device.id not in given]
    return _Seating(wanted, placed, surplus, _outdated(desired, placed, left, need, loading), shares)


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
        yield NOT_WANTED
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
        elif row.loan is not None:
            continue  # whoever has it
        elif device_id in lent:
            yield f"device {device_id} belongs to a fine-tune"
        elif row.life is None and deployment.pinned and device_id not in deployment.pinned:
            yield f"it is pinned to {', '.join(deployment.pinned)} and has {device_id}"
        elif row.life is None and not has_room(device, memory_share):
            yield crowded_reason(device, memory_share)


def _last_ones(surplus: Iterable[tuple[ReplicaRow, str]], placed: Collection[ReplicaRow]) -> set[str]:
    """The ids of the rows that only a smaller number made surplus, and that serve alone: they stay until one that is wanted
    serves. Where none has devices, theirs may be what it waits for.
    """
    coming = {row.deployment_id for row in placed if row.devices}
    serving = {row.deployment_id for row in placed if row.state is _S.READY}
    alone: dict[str, str] = {}
    for row, reason in surplus:
        if reason == NOT_WANTED and row.state is _S.READY and row.deployment_id in coming - serving:
            alone.setdefault(row.deployment_id, row.id)
    return set(alone.values())


def _outdated(
    desired: Iterable[DesiredDeployment],
    placed: dict[Slot, ReplicaRow],
    free: Iterable[DeviceInfo],
    need: Mapping[str, float],
    loading: Collection[str],
) -> set[str]:
    """The ids of the rows whose engines end now because they run in an older way, or elsewhere than they are pinned to.

    `free`: the devices that nobody has or gets.
    """
    of_deployment: dict[str, list[ReplicaRow]] = {}
    for row in placed.values():
        of_deployment.setdefault(row.deployment_id, []).append(row)
    left = {device.id: device for device in free}
    found: set[str] = set()
    # those first of which one is on its way: two must not move to the same place
    for deployment in sorted(desired, key=lambda d: not rolling.is_moving(d, of_deployment.get(d.id, []))):
        rows = of_deployment.get(deployment.id, [])
        share = need.get(deployment.id, 0.0)
        room = [id_ for id_ in deployment.pinned if id_ in left and has_room(left[id_], share)]
        ending = list(rolling.outdated(deployment, rows, len(room), loading))
        found |= {row.id for row in ending}
        if rolling.is_moving(deployment, rows) or any(rolling.is_misplaced(row, deployment) for row in ending):
            left = {id_: device for id_, device in left.items() if id_ not in room}
    return found


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
    idle = row.state in {_S.STOPPED, _S.FAILED, _S.STARTING} and row.life is None and row.loan is None
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
