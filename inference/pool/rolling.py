"""Engines that run in an older way than is wanted: which one makes way next, so that another one always serves.

Of several replicas one at a time is drained and started anew, once all others are ready. A single one gets a second
beside it first, where devices are free for one. An engine that does not come up in the new way ends the matter there:
the others go on in the old way. Of several engines those on other devices than their deployment is pinned to move in the
same manner, as far as there is room; a single one stays where it is until a pause is allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from inference.pool.states import ReplicaState
from inference.pool.store import DesiredDeployment, ReplicaRow

BESIDE = 1000  # the index of the engine that stands in for a single one meanwhile
REASON = "it runs in an older way: engines are started anew one after the other"

_S = ReplicaState


def stand_ins(
    desired: Iterable[DesiredDeployment],
    rows: Iterable[ReplicaRow],
    free: Collection[str],
    loading: Collection[str] = (),
) -> set[str]:
    """The deployments that want one engine more for a while. `free`: devices that nobody owns."""
    found = set()
    left = list(free)
    by_slot = {(row.deployment_id, row.index): row for row in rows}
    for deployment in desired:
        if not deployment.running or deployment.replicas != 1:
            continue
        single, beside = by_slot.get((deployment.id, 0)), by_slot.get((deployment.id, BESIDE))
        if beside is not None and not _is_done(single, deployment, loading):
            found.add(deployment.id)
        elif beside is None and _serves_outdated(single, deployment):
            usable = [device for device in left if not deployment.pinned or device in deployment.pinned]
            if deployment.devices_each <= len(usable):
                left = [device for device in left if device not in usable[: deployment.devices_each]]
                found.add(deployment.id)
    return found


def outdated(
    deployment: DesiredDeployment, rows: Iterable[ReplicaRow], num_free: int = 0, loading: Collection[str] = ()
) -> Iterator[ReplicaRow]:
    """Of one deployment's rows those whose engines end now. Those that serve nobody yet need not wait.

    `num_free`: of the devices that it is pinned to, those to which an engine could move. `loading`: the replicas that lack
    adapters they are to have: somebody asks for those, too.
    """
    of_it = sorted(rows, key=lambda row: row.index)
    moving = _movable(deployment, of_it, num_free)
    old = [
        row
        for row in of_it
        # one that could not come back to its place ends only once there is another for it
        if (row in moving if is_misplaced(row, deployment) else is_outdated(row, deployment))
    ]
    yield from (row for row in old if row.state in {_S.STARTING, _S.LOADING, _S.WARMING})
    first = next((row for row in old if _serves(row)), None)
    if first is None:
        return
    others = [row for row in of_it if row is not first]
    if (others and all(_serves(row) and row.id not in loading for row in others)) or (
        not others and deployment.may_pause
    ):
        yield first


def _serves(row: ReplicaRow) -> bool:
    return row.state is _S.READY and row.loan is None  # one that is to be lent stops serving at any moment


def is_outdated(row: ReplicaRow, deployment: DesiredDeployment) -> bool:
    """Whether its engine was started in another way; of one from before that was recorded nobody knows."""
    return row.life is not None and row.life.way not in {"", deployment.way}


def is_misplaced(row: ReplicaRow, deployment: DesiredDeployment) -> bool:
    """Whether it has a device that its deployment is not pinned to."""
    return bool(deployment.pinned) and not set(row.devices) <= set(deployment.pinned)


def is_moving(deployment: DesiredDeployment, rows: Iterable[ReplicaRow]) -> bool:
    """Whether an engine ends at the moment to begin anew where it is pinned to."""
    return any(row.state is _S.DRAINING and is_misplaced(row, deployment) for row in rows)


def _movable(deployment: DesiredDeployment, rows: list[ReplicaRow], num_free: int) -> list[ReplicaRow]:
    """The misplaced ones for which there is room, those first that are on their way."""
    found = []
    misplaced = [row for row in rows if row.life is not None and is_misplaced(row, deployment)]
    for row in sorted(misplaced, key=lambda row: row.state is not _S.DRAINING):
        num_missing = _num_missing(row, deployment)
        if num_missing <= num_free:
            num_free -= num_missing
            found.append(row)
    return found


def _num_missing(row: ReplicaRow, deployment: DesiredDeployment) -> int:
    """How many more of the devices that it is pinned to it would need."""
    return len(set(row.devices) - set(deployment.pinned))


def _serves_outdated(row: ReplicaRow | None, deployment: DesiredDeployment) -> bool:
    """One that would have to move finds its new place taken by its stand-in: it gets none."""
    return (
        row is not None
        and row.state is _S.READY
        and is_outdated(row, deployment)
        and not is_misplaced(row, deployment)
        and not deployment.may_pause
    )


def _is_done(row: ReplicaRow | None, deployment: DesiredDeployment, loading: Collection[str]) -> bool:
    serves = row is not None and row.state is _S.READY and row.id not in loading
    return row is not None and serves and not is_outdated(row, deployment)
