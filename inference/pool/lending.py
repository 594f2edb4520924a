"""Which replicas lend their devices to fine-tunes, and which get theirs back: values in, actions out.

A replica is lent in three steps: it is chosen and drained, it comes to rest (asleep or ended), its devices change their
owner. It gets them back once no fine-tune holds them, and then wakes or starts. Each step is one compare-and-set on the
rows, and each is decided from the rows alone, so that a pool that was killed goes on where the last one was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from inference.devices.info import box_of
from inference.pool.lend_policy import Loan
from inference.pool.states import ReplicaState
from inference.pool.store import DesiredDeployment, ReplicaRow

_S = ReplicaState


@dataclass(frozen=True)
class Lend:
    """Put the loan on record; then it is vacated."""

    replica_id: str
    job_id: str


@dataclass(frozen=True)
class Vacate:
    """Let its requests end, then have it sleep or end."""

    replica_id: str
    job_id: str


@dataclass(frozen=True)
class HandOver:
    """It is at rest: the fine-tune becomes its devices' owner."""

    replica_id: str
    job_id: str


@dataclass(frozen=True)
class AskBack:
    """The fine-tune gives the devices back at its next checkpoint."""

    replica_id: str
    reason: str


@dataclass(frozen=True)
class TakeBack:
    """End the loan: the replica owns its devices again, or still."""

    replica_id: str


@dataclass(frozen=True)
class Wake:
    """It sleeps and has its devices."""

    replica_id: str


Action = Lend | Vacate | HandOver | AskBack | TakeBack | Wake


def decide(
    desired: Iterable[DesiredDeployment],
    rows: Iterable[ReplicaRow],
    wishes: Sequence[str],
    leased: Collection[str],
    minute: int,
    busy: Collection[str] = (),
    loading: Collection[str] = (),
) -> list[Action]:
    """The next actions, for each replica at most one.

    `wishes`: the fine-tunes that wait for a device, the longest wait first. `leased`: the devices that fine-tunes hold.
    `minute`: of the day, where the box is. `busy`: replicas with which something else happens now. `loading`: those that
    lack adapters they are to have: they can be lent, and nobody counts on them.
    """
    deployments = {deployment.id: deployment for deployment in desired}
    everything = list(rows)
    ordered = sorted(
        (row for row in everything if row.id not in busy), key=lambda row: (row.deployment_id, row.index, row.id)
    )
    actions: list[Action] = []
    for row in ordered:
        deployment = deployments.get(row.deployment_id)
        if row.loan is not None:
            actions += _go_on(row, row.loan, refusal(deployment, minute), wishes, leased)
        elif row.state is _S.SLEEPING and deployment is not None:
            actions.append(Wake(row.id))
    willing = {id_: one for id_, one in deployments.items() if not refusal(one, minute)}
    served = {row.loan.job_id for row in everything if row.loan is not None}
    open_wishes = [job_id for job_id in dict.fromkeys(wishes) if job_id not in served]
    return [*actions, *_new_loans(willing, ordered, open_wishes, loading)]


def refusal(deployment: DesiredDeployment | None, minute: int) -> str:
    """Why a deployment does not lend at this minute of the day; empty when it does."""
    if deployment is None or not deployment.running:
        return "the model is served no longer"
    if deployment.lending is None:
        return "the model lends no longer"
    window = deployment.lending.window
    return "" if window is None or window.has(minute) else f"outside the window {window}"


def _go_on(
    row: ReplicaRow, loan: Loan, refused: str, wishes: Collection[str], leased: Collection[str]
) -> Iterator[Action]:
    """The next step of a loan that is on record."""
    if loan.given:
        if not set(leased).intersection(row.devices):
            yield TakeBack(row.id)
        elif refused and not loan.asked_back:
            yield AskBack(row.id, refused)
        return
    wanted = not refused and loan.job_id in wishes
    if row.state is _S.DRAINING and row.life is not None:
        return  # its requests end first, whatever comes next
    if not wanted or not (row.life is None or row.state in {_S.SLEEPING, _S.READY}):
        yield TakeBack(row.id)
    elif row.state is _S.READY:
        yield Vacate(row.id, loan.job_id)
    else:
        yield HandOver(row.id, loan.job_id)


def _new_loans(
    willing: dict[str, DesiredDeployment], rows: list[ReplicaRow], wishes: Sequence[str], loading: Collection[str]
) -> Iterator[Lend]:
    """A loan for each wish, as long as enough replicas of a deployment go on serving."""
    able = [row for row in rows if row.state is _S.READY and row.life is not None and row.loan is None and row.devices]
    serving = Counter(row.deployment_id for row in able if row.id not in loading)
    for job_id in wishes:
        chosen = min(
            (row for row in able if _can_spare(row, willing, serving, loading)),
            key=lambda row: (len(row.devices), -row.index, row.id),
            default=None,
        )
        if chosen is None:
            continue
        able.remove(chosen)
        serving[chosen.deployment_id] -= chosen.id not in loading
        yield Lend(chosen.id, job_id)


def _can_spare(
    row: ReplicaRow, willing: dict[str, DesiredDeployment], serving: Counter[str], loading: Collection[str]
) -> bool:
    deployment = willing.get(row.deployment_id)
    if deployment is None or deployment.lending is None or any(box_of(device) for device in row.devices):
        return False  # fine-tunes run on this machine only
    left = serving[row.deployment_id] - (row.id not in loading)
    return left >= deployment.lending.min_serving
