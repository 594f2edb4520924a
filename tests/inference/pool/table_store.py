"""The pool's store without a database: tables in memory, or in a file that several processes share.

It follows the rules the protocol states (compare-and-set, one life per replica), so that what the pool does with a
store can be tested without the control plane.
"""

import fcntl
import pickle
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from inference.pool.lend_policy import Loan
from inference.pool.states import ReplicaState, may_move
from inference.pool.store import Counters, DesiredAdapter, DesiredDeployment, DeviceInfo, Life, Load, ReplicaRow


@dataclass
class Tables:
    desired: list[DesiredDeployment] = field(default_factory=list)
    rows: dict[str, ReplicaRow] = field(default_factory=dict)
    devices: list[DeviceInfo] = field(default_factory=list)
    counters: dict[str, Counters] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    moves: list[tuple[str, ReplicaState, str]] = field(default_factory=list)
    samples: list[tuple[str, Load]] = field(default_factory=list)
    stop: bool = False
    adapters: list[DesiredAdapter] = field(default_factory=list)
    loads: dict[tuple[str, str], tuple[bool, str]] = field(default_factory=dict)
    leased: set[str] = field(default_factory=set)
    wishes: list[str] = field(default_factory=list)


class TableStore:
    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._tables = Tables()
        if file is not None and not file.exists():
            file.write_bytes(pickle.dumps(self._tables))

    @contextmanager
    def open(self) -> Iterator[Tables]:
        """The tables, exclusively; changes are kept."""
        with self._lock:
            if self._file is None:
                yield self._tables
                return
            with self._file.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                tables: Tables = pickle.loads(file.read())
                yield tables
                file.seek(0)
                file.truncate()
                file.write(pickle.dumps(tables))

    def stamp(self) -> object:
        with self.open() as tables:
            leased, adapters = frozenset(tables.leased), tuple(tables.adapters)
            return tuple(tables.desired), tuple(tables.rows.values()), leased, adapters

    def desired(self) -> list[DesiredDeployment]:
        with self.open() as tables:
            return list(tables.desired)

    def replicas(self) -> list[ReplicaRow]:
        with self.open() as tables:
            return list(tables.rows.values())

    def save_devices(self, devices: list[DeviceInfo]) -> None:
        with self.open() as tables:
            tables.devices = devices

    def create_replica(self, deployment_id: str, index: int, devices: tuple[str, ...]) -> ReplicaRow | None:
        row_id = str(uuid.uuid4())
        row = ReplicaRow(row_id, deployment_id, index, ReplicaState.STOPPED, "", devices, None, 0, None)
        with self.open() as tables:
            places = {(other.deployment_id, other.index) for other in tables.rows.values()}
            assert (deployment_id, index) not in places, "one replica per index"
            if tables.leased & set(devices):
                return None
            tables.rows[row_id] = row
        return row

    def move(self, replica_id: str, from_state: ReplicaState, to_state: ReplicaState, reason: str = "") -> bool:
        assert may_move(from_state, to_state), f"{from_state} to {to_state}"
        with self.open() as tables:
            row = tables.rows.get(replica_id)
            if row is None or row.state is not from_state:
                return False
            tables.rows[replica_id] = replace(row, state=to_state, reason=reason)
            tables.moves.append((replica_id, to_state, reason))
        return True

    def begin_life(self, replica_id: str, life: Life) -> None:
        with self.open() as tables:
            assert tables.rows[replica_id].life is None
            tables.rows[replica_id] = replace(tables.rows[replica_id], life=life)

    def end_life(self, life_id: str, reason: str, counters: Counters | None) -> None:
        with self.open() as tables:
            if counters is not None:
                tables.counters[life_id] = counters
            tables.ended[life_id] = reason
            for row in tables.rows.values():
                if row.life is not None and row.life.id == life_id:
                    tables.rows[row.id] = replace(row, life=None)
                    return

    def save_counters(self, life_id: str, counters: Counters) -> None:
        with self.open() as tables:
            tables.counters[life_id] = counters

    def set_backoff(self, replica_id: str, restarts: int, next_start_at: float | None) -> None:
        with self.open() as tables:
            if replica_id in tables.rows:
                row = tables.rows[replica_id]
                tables.rows[replica_id] = replace(row, restarts=restarts, next_start_at=next_start_at)

    def delete_replica(self, replica_id: str) -> None:
        with self.open() as tables:
            assert tables.rows[replica_id].life is None, "a living replica is not deleted"
            del tables.rows[replica_id]

    def leased_devices(self) -> set[str]:
        with self.open() as tables:
            return set(tables.leased)

    def wishes(self) -> list[str]:
        with self.open() as tables:
            return list(tables.wishes)

    def lend(self, replica_id: str, job_id: str) -> bool:
        with self.open() as tables:
            row = tables.rows[replica_id]
            if row.state is not ReplicaState.READY or row.loan is not None:
                return False
            tables.rows[replica_id] = replace(row, loan=Loan(job_id))
        return True

    def hand_over(self, replica_id: str, job_id: str) -> bool:
        with self.open() as tables:
            row = tables.rows[replica_id]
            assert row.life is None or row.state is ReplicaState.SLEEPING, "it is at rest"
            assert not tables.leased & set(row.devices), "one owner"
            if row.loan != Loan(job_id) or job_id not in tables.wishes:
                return False
            tables.rows[replica_id] = replace(row, loan=Loan(job_id, given=True))
            tables.leased |= set(row.devices)
            tables.wishes.remove(job_id)
        return True

    def ask_back(self, replica_id: str, reason: str) -> None:
        with self.open() as tables:
            row = tables.rows[replica_id]
            tables.rows[replica_id] = replace(row, loan=replace(row.loan, asked_back=True), reason=reason)

    def take_back(self, replica_id: str) -> bool:
        with self.open() as tables:
            row = tables.rows[replica_id]
            if row.loan is None or tables.leased & set(row.devices):
                return False
            tables.rows[replica_id] = replace(row, loan=None)
        return True

    def desired_adapters(self) -> list[DesiredAdapter]:
        with self.open() as tables:
            return list(tables.adapters)

    def adapter_loads(self, life_id: str) -> dict[str, bool]:
        with self.open() as tables:
            return {adapter: loaded for (life, adapter), (loaded, _) in tables.loads.items() if life == life_id}

    def record_adapter(self, life_id: str, adapter_id: str, loaded: bool, reason: str) -> None:
        with self.open() as tables:
            tables.loads[life_id, adapter_id] = (loaded, reason)

    def forget_adapter(self, life_id: str, adapter_id: str) -> None:
        with self.open() as tables:
            tables.loads.pop((life_id, adapter_id), None)

    def stop_requested(self) -> bool:
        with self.open() as tables:
            return tables.stop

    def record_sample(self, model: str, load: Load, at: float) -> None:
        with self.open() as tables:
            tables.samples.append((model, load))
