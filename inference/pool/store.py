"""What the pool keeps outside itself: the rows it reads and writes, as plain values and one protocol.

The control plane implements `Store` on its database. Every call is synchronous and may come from any of the pool's
threads. A call may fail while the database is away: the pool logs that, goes on serving and tries again.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inference.devices.info import DeviceInfo
from inference.engines.spec import Counters
from inference.pool.lend_policy import Lending, Loan
from inference.pool.load import Load
from inference.pool.states import ReplicaState
from inference.pool.strategies import DEFAULT

__all__ = ["Counters", "DesiredAdapter", "DesiredDeployment", "DeviceInfo", "Life", "Load", "ReplicaRow", "Store"]


@dataclass(frozen=True)
class DesiredDeployment:
    """A deployment as somebody wants it; `model` is the public name, `running` False wants none of its replicas.

    `restart` counts how often new engines were asked for; `may_pause` allows that nobody serves meanwhile. `placement`
    names one of strategies.py; `pinned` are the only devices its replicas may have, none means any. `lending` is None
    where its replicas' devices are never lent. Its throughput is counted with that of the model `counted_as`, which is
    its own where that is empty.
    """

    id: str
    name: str
    model: str
    model_path: Path
    model_digest: str
    preset: str
    slot_python: Path
    replicas: int
    devices_each: int
    flags: tuple[str, ...]
    max_model_len: int
    running: bool
    restart: int = 0
    may_pause: bool = False
    placement: str = DEFAULT
    pinned: tuple[str, ...] = ()
    lending: Lending | None = None
    counted_as: str = ""

    @property
    def way(self) -> str:
        """What an engine is started with, as a fingerprint: one with another is outdated."""
        what = [self.model_digest, str(self.slot_python), self.flags, self.max_model_len, self.restart]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class DesiredAdapter:
    """An adapter that every engine of its deployment is to have under `name`; `digest` is its manifest's SHA-256.

    A `pinned` one is not to be thrown out of an engine's cache by others.
    """

    id: str
    name: str
    deployment_id: str
    path: Path
    digest: str
    rank: int
    pinned: bool = False


@dataclass(frozen=True)
class Life:
    """One engine process, from its start to its end. Pid and start (clock ticks since boot) name it unmistakably.

    `way` is the deployment's fingerprint when it was started, "" where that is not on record.
    """

    id: str
    pid: int
    pid_started: int
    socket: Path
    log: Path
    started_at: float
    way: str = ""


@dataclass(frozen=True)
class ReplicaRow:
    """A replica and the devices it owns, from its creation until it is deleted; `restarts` counts failures in a row.

    With a `loan` that is given, a fine-tune owns the devices meanwhile.
    """

    id: str
    deployment_id: str
    index: int
    state: ReplicaState
    reason: str
    devices: tuple[str, ...]
    life: Life | None
    restarts: int
    next_start_at: float | None
    loan: Loan | None = None


class Store(Protocol):
    def stamp(self) -> object:
        """Equal to the one before while `desired`, `replicas`, `desired_adapters` and `leased_devices` tell the same.

        One cheap question. What a stamp may leave out is read again after some seconds all the same.
        """
        ...

    def desired(self) -> list[DesiredDeployment]: ...

    def replicas(self) -> list[ReplicaRow]: ...

    def save_devices(self, devices: list[DeviceInfo]) -> None: ...

    def create_replica(self, deployment_id: str, index: int, devices: tuple[str, ...]) -> ReplicaRow | None:
        """A new replica, stopped, that owns its devices; None when one of them has got another owner meanwhile."""
        ...

    def leased_devices(self) -> set[str]:
        """The devices that fine-tunes hold at the moment."""
        ...

    def wishes(self) -> list[str]:
        """The fine-tunes that wait for a device at the moment, the longest wait first."""
        ...

    def lend(self, replica_id: str, job_id: str) -> bool:
        """Put a loan on record; False when the replica is not ready or lent already."""
        ...

    def hand_over(self, replica_id: str, job_id: str) -> bool:
        """Make the fine-tune the owner of a resting replica's devices; False when it waits for them no longer."""
        ...

    def ask_back(self, replica_id: str, reason: str) -> None:
        """Say that lent devices are to come back; the reason is the replica's from now on."""
        ...

    def take_back(self, replica_id: str) -> bool:
        """End a loan; False when somebody holds one of the devices."""
        ...

    def move(self, replica_id: str, from_state: ReplicaState, to_state: ReplicaState, reason: str = "") -> bool:
        """Compare-and-set; False when the replica is gone or in another state. The reason replaces the old one."""
        ...

    def begin_life(self, replica_id: str, life: Life) -> None: ...

    def end_life(self, life_id: str, reason: str, counters: Counters | None) -> None:
        """The replica has no life any more; None keeps the counters saved last. A second call changes nothing."""
        ...

    def save_counters(self, life_id: str, counters: Counters) -> None: ...

    def set_backoff(self, replica_id: str, restarts: int, next_start_at: float | None) -> None: ...

    def delete_replica(self, replica_id: str) -> None: ...

    def desired_adapters(self) -> list[DesiredAdapter]:
        """The adapters that the running deployments' engines are to have."""
        ...

    def adapter_loads(self, life_id: str) -> dict[str, bool]:
        """What is on record of a life: by adapter id, whether it is loaded or could not be."""
        ...

    def record_adapter(self, life_id: str, adapter_id: str, loaded: bool, reason: str) -> None:
        """Replaces what was on record; changes nothing when the adapter is gone."""
        ...

    def forget_adapter(self, life_id: str, adapter_id: str) -> None: ...

    def stop_requested(self) -> bool:
        """Whether the whole appliance is to stop."""
        ...

    def record_sample(self, model: str, load: Load, at: float) -> None:
        """Throughput, load and latencies of a model's engines over the last moments."""
        ...
