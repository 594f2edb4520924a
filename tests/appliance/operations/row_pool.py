"""A pool without engines: the real plan and the real store, with replicas that become ready, or fail, by their rows alone."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from django.db import connections

from appliance.fleet.models import Deployment, Replica
from appliance.fleet.store import DatabaseStore
from inference.devices.info import DeviceInfo
from inference.pool.plan import Create, Delete, Drain, MarkFailed, Start, Stop, plan
from inference.pool.states import ReplicaState
from inference.pool.store import Life

S = ReplicaState
TICK_S = 0.04


@dataclass
class RowPool:
    """Runs until stopped. `broken`: digests whose engines fail. `unserved`: ticks at which `name` had no ready engine."""

    marker: Path
    name: str
    num_devices: int = 3
    broken: set[str] = field(default_factory=set)
    unserved: int = 0
    watching: bool = False

    def __post_init__(self) -> None:
        self._store = DatabaseStore(self.marker)
        self._devices = [DeviceInfo(f"cpu:{n}", "cpu", "a share", 1 << 30) for n in range(self.num_devices)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._store.save_devices(self._devices)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        try:
            while not self._stop.wait(TICK_S):
                self._tick()
                if self.watching and not self._is_served():
                    self.unserved += 1
        finally:
            connections.close_all()

    def _is_served(self) -> bool:
        ready = Replica.objects.filter(deployment__name=self.name, deployment__serves=True, deployment__running=True)
        return ready.filter(state="ready").exclude(life=None).exists()

    def _tick(self) -> None:
        desired = self._store.desired()
        digests = {d.id: d.model_digest for d in desired}
        rows = {row.id: row for row in self._store.replicas()}
        for action in plan(desired, self._devices, rows.values(), time.time(), self._store.leased_devices()):
            match action:
                case Create(deployment_id, index, devices):
                    self._store.create_replica(deployment_id, index, devices)
                case Start(replica_id, deployment_id):
                    self._begin(replica_id, rows[replica_id].state, digests[deployment_id] in self.broken)
                case Drain(replica_id, reason) | Stop(replica_id, reason):
                    self._end(replica_id, rows[replica_id].state, reason)
                case MarkFailed(replica_id, from_state, reason):
                    self._store.move(replica_id, from_state, S.FAILED, reason)
                case Delete(replica_id):
                    self._store.delete_replica(replica_id)

    def _begin(self, replica_id: str, state: ReplicaState, broken: bool) -> None:
        self._store.move(replica_id, state, S.STARTING)
        if broken:
            self._store.set_backoff(replica_id, 1, time.time() + 60)
            self._store.move(replica_id, S.STARTING, S.FAILED, "the engine exited with 1\nValueError: no such weight")
            return
        began = Life(str(uuid.uuid4()), 1, 2, Path("/x.sock"), Path("/x.log"), time.time())
        self._store.begin_life(replica_id, began)
        for old, new in ((S.STARTING, S.LOADING), (S.LOADING, S.WARMING), (S.WARMING, S.READY)):
            self._store.move(replica_id, old, new)

    def _end(self, replica_id: str, state: ReplicaState, reason: str) -> None:
        life = Replica.objects.get(pk=replica_id).life_id
        if state is S.READY:
            self._store.move(replica_id, S.READY, S.DRAINING, reason)
            state = S.DRAINING
        self._store.move(replica_id, state, S.STOPPED, reason)
        self._store.end_life(str(life), reason, None)


def served_digest(name: str) -> str:
    """The version that serves a name, of which there must be one."""
    return Deployment.objects.get(name=name, running=True, serves=True).model.digest
