"""Carries out what `lending.decide` says: loans of devices to fine-tunes, step by step."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from inference.pool import metrics
from inference.pool.keeper import Keeper
from inference.pool.lending import Action, AskBack, HandOver, Lend, TakeBack, Vacate, Wake, decide
from inference.pool.settings import PoolSettings
from inference.pool.sleep import host_has_room
from inference.pool.states import ReplicaState
from inference.pool.store import DesiredDeployment, ReplicaRow, Store

log = logging.getLogger(__name__)


def lent_to(job_id: str) -> str:
    """The reason on a replica that is lent."""
    return f"lent to {job_id}"


class Lender:
    """For the supervisor's thread."""

    def __init__(self, store: Store, settings: PoolSettings) -> None:
        self._store = store
        self._settings = settings
        self._zone = ZoneInfo(settings.time_zone)

    def step(
        self,
        desired: Sequence[DesiredDeployment],
        rows: Sequence[ReplicaRow],
        leased: Collection[str],
        keepers: Mapping[str, Keeper],
        busy: Collection[str],
    ) -> None:
        """Do what is due. Where nothing lends and nothing is lent, nothing is asked of the database."""
        lends = any(deployment.lending is not None for deployment in desired)
        if not lends and all(row.loan is None and row.state is not ReplicaState.SLEEPING for row in rows):
            return
        now = datetime.now(self._zone)
        loading = {keeper.replica_id for keeper in keepers.values() if not keeper.has_its_adapters}
        wishes = self._store.wishes() if lends else []
        of_row = {row.id: deployment for row in rows for deployment in desired if deployment.id == row.deployment_id}
        for action in decide(desired, rows, wishes, leased, 60 * now.hour + now.minute, busy, loading):
            try:
                self._act(action, of_row.get(action.replica_id), keepers.get(action.replica_id))
            except Exception:
                # The top of one action's work, as for the plan's: the other loans go on.
                log.exception("the pool could not carry out %s, and decides it again", action)
                metrics.FAULTS.labels("lending").inc()

    def _act(self, action: Action, deployment: DesiredDeployment | None, keeper: Keeper | None) -> None:
        match action:
            case Lend(replica_id, job_id):
                if self._store.lend(replica_id, job_id):
                    log.info("replica %s: %s", replica_id, lent_to(job_id))
                    self._vacate(job_id, deployment, keeper)
            case Vacate(_, job_id):
                self._vacate(job_id, deployment, keeper)
            case HandOver(replica_id, job_id):
                if self._store.hand_over(replica_id, job_id):
                    log.info("replica %s: %s has its devices", replica_id, job_id)
            case AskBack(replica_id, reason):
                self._store.ask_back(replica_id, f"lent, and asked back: {reason}")
            case TakeBack(replica_id):
                if self._store.take_back(replica_id):
                    log.info("replica %s: has its devices back", replica_id)
            case Wake():
                if keeper is not None:
                    keeper.wake()

    def _vacate(self, job_id: str, deployment: DesiredDeployment | None, keeper: Keeper | None) -> None:
        if keeper is None or deployment is None:
            return
        sleep = host_has_room(deployment.model_path)
        keeper.end(lent_to(job_id), self._settings.patient_drain_s, self._settings.grace_s, sleep=sleep)
