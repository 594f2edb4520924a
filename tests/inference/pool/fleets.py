"""Made-up fleets, and a small world that applies a plan's actions the way the supervisor would, engines behaving well."""

import uuid
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

from inference.devices import DeviceInfo
from inference.pool.plan import Create, Delete, Drain, MarkFailed, Start, Stop
from inference.pool.states import ReplicaState
from inference.pool.store import DesiredDeployment, Life, ReplicaRow
from inference.pool.strategies import STRATEGIES

S = ReplicaState
NOW = 1_000.0
GIB = 1 << 30


def deployment(name="lite", replicas=1, devices_each=1, running=True, **more):
    return DesiredDeployment(
        id=name,
        name=name,
        model=name,
        model_path=Path("/models") / name,
        model_digest="d",
        preset="demo",
        slot_python=Path("/slot/bin/python"),
        replicas=replicas,
        devices_each=devices_each,
        flags=(),
        max_model_len=4096,
        running=running,
        **more,
    )


def device(number, healthy=True, group=""):
    reason = "" if healthy else "ECC"
    return DeviceInfo(f"cpu:{number}", "cpu", "CPU", 1, cores=(number,), healthy=healthy, reason=reason, group=group)


def life(way=""):
    return Life(str(uuid.uuid4()), 1, 1, Path("/s"), Path("/l"), 0.0, way)


def row(state=S.STOPPED, devices=("cpu:0",), index=0, deployment_id="lite", way="", **more):
    alive = state in {S.LOADING, S.WARMING, S.READY, S.DRAINING}
    values = {"id": f"{deployment_id}-{index}-{devices}", "reason": "", "restarts": 0, "next_start_at": None}
    return ReplicaRow(
        **{
            **values,
            "deployment_id": deployment_id,
            "index": index,
            "state": state,
            "devices": devices,
            "life": life(way) if alive else None,
            **more,
        }
    )


names = st.sampled_from(["a", "b", "c"])
pins = st.one_of(st.just(()), st.sets(st.integers(0, 8).map("cpu:{}".format), max_size=5).map(sorted).map(tuple))
deployments = st.lists(
    st.builds(
        deployment,
        name=names,
        replicas=st.integers(0, 4),
        devices_each=st.integers(1, 4),
        running=st.booleans(),
        placement=st.sampled_from(sorted(STRATEGIES)),
        pinned=pins,
        may_pause=st.booleans(),
    ),
    max_size=3,
    unique_by=lambda d: d.id,
)
groups = st.sampled_from(["", "nvlink-0", "nvlink-1"])
inventories = st.lists(
    st.tuples(st.integers(0, 7), st.booleans(), groups), max_size=8, unique_by=lambda triple: triple[0]
).map(lambda triples: [device(number, healthy, group) for number, healthy, group in triples])


@st.composite
def fleets(draw):
    """Rows as a correct pool may have left them: no device twice, a life where the state has one."""
    free = draw(st.permutations([f"cpu:{number}" for number in range(8)]))
    rows = []
    for number in range(draw(st.integers(0, 5))):
        count = draw(st.integers(0, min(3, len(free))))
        mine, free = tuple(free[:count]), free[count:]
        state = draw(st.sampled_from(list(S))) if mine else draw(st.sampled_from([S.STOPPED, S.FAILED]))
        wait = draw(st.sampled_from([None, NOW - 1, NOW + 5]))
        index, name = draw(st.integers(0, 4)), draw(names)
        rows.append(row(state, mine, index, name, id=str(number), next_start_at=wait))
    return rows


class World:
    def __init__(self, rows, desired=()):
        self.rows = {row.id: row for row in rows}
        self.doubled = False
        self.ways = {deployment.id: deployment.way for deployment in desired}

    def apply(self, action):
        match action:
            case Create(deployment_id, index, devices):
                places = {(entry.deployment_id, entry.index) for entry in self.rows.values()}
                self.doubled |= (deployment_id, index) in places
                new = row(S.STOPPED, devices, index, deployment_id, id=str(uuid.uuid4()))
                self.rows[new.id] = new
            case Start(replica_id, deployment_id):
                new = life(self.ways.get(deployment_id, ""))
                self.rows[replica_id] = replace(self.rows[replica_id], state=S.READY, life=new, reason="")
            case Drain(replica_id) | Stop(replica_id):
                self.rows[replica_id] = replace(self.rows[replica_id], state=S.STOPPED, life=None)
            case MarkFailed(replica_id, from_state, reason):
                assert self.rows[replica_id].state is from_state
                self.rows[replica_id] = replace(self.rows[replica_id], state=S.FAILED, reason=reason)
            case Delete(replica_id):
                assert self.rows[replica_id].life is None
                del self.rows[replica_id]

    def let_drains_end(self):
        for entry in list(self.rows.values()):
            if entry.state is S.DRAINING:
                self.rows[entry.id] = replace(entry, state=S.STOPPED, life=None)

    def owned(self):
        return [device_id for entry in self.rows.values() for device_id in entry.devices]


loans = st.sets(st.integers(0, 7).map("cpu:{}".format))
