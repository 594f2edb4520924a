"""The pool's stamp on a real PostgreSQL: it changes with whatever the pool reads, not with what is always written."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models import F
from django.utils import timezone

from appliance.fleet import leases
from appliance.fleet.models import Deployment, DeviceOwner
from appliance.fleet.store import DatabaseStore
from appliance.registry.models import Adapter, AdapterState, EngineSlot, ModelVersion
from appliance.tenants.models import Plan, Tenant
from inference.pool.states import ReplicaState
from inference.pool.store import Counters, DeviceInfo, Life, Load

pytestmark = pytest.mark.usefixtures("db")
S = ReplicaState
LIFE = Life("0c9c6a52-3f0e-4ee6-9a43-4c1cbb7f5f0a", 1, 2, Path("/run/x.sock"), Path("/x.log"), 0.0)


@pytest.fixture
def store(tmp_path: Path) -> DatabaseStore:
    return DatabaseStore(tmp_path / "stopping")


@pytest.fixture
def deployment(db: None) -> Deployment:
    slot = EngineSlot.objects.create(name="cpu-1", flavour="cpu", engine_version="1", path="/slots/cpu-1", digest="d")
    model = ModelVersion.objects.create(name="m", path="/models/m", digest="d", max_model_len=512)
    return Deployment.objects.create(model=model, slot=slot, max_model_len=512)


def changes(store: DatabaseStore, act: Callable[[], object]) -> bool:
    before = store.stamp()
    act()
    return store.stamp() != before


def test_it_stays_while_nothing_happens(store: DatabaseStore, deployment: Deployment) -> None:
    assert not changes(store, lambda: None)


def test_it_changes_with_what_somebody_wants(store: DatabaseStore, deployment: Deployment) -> None:
    mine = Deployment.objects.filter(pk=deployment.pk)
    assert changes(store, lambda: mine.update(replicas=3))
    assert changes(store, lambda: mine.update(restart=F("restart") + 1))
    assert changes(store, lambda: mine.update(running=False))
    assert changes(store, lambda: ModelVersion.objects.filter(pk=deployment.model.pk).update(path="/elsewhere"))


def test_it_changes_with_each_step_of_a_replica(store: DatabaseStore, deployment: Deployment) -> None:
    assert changes(store, lambda: store.create_replica(str(deployment.pk), 0, ("cpu:0",)))
    (row,) = store.replicas()
    assert changes(store, lambda: store.move(row.id, S.STOPPED, S.STARTING))
    assert changes(store, lambda: store.begin_life(row.id, LIFE))
    assert changes(store, lambda: store.move(row.id, S.STARTING, S.LOADING))
    assert changes(store, lambda: store.end_life(LIFE.id, "killed", None))
    assert changes(store, lambda: store.delete_replica(row.id))


def test_it_changes_with_the_adapters_that_engines_are_to_have(store: DatabaseStore, deployment: Deployment) -> None:
    plan = Plan.objects.create(name="p")
    tenant = Tenant.objects.create(id="acme", name="Acme", plan=plan)
    made = {"tenant": tenant, "base": deployment.model, "name": "ft:m:acme:x:1", "path": "/a", "digest": "d", "rank": 4}
    assert changes(store, lambda: Adapter.objects.create(state=AdapterState.ACTIVE, **made))
    assert [wish.name for wish in store.desired_adapters()] == ["ft:m:acme:x:1"]
    assert changes(store, lambda: Tenant.objects.filter(pk="acme").update(is_active=False))
    assert store.desired_adapters() == []


def test_it_changes_with_a_lease_and_with_its_running_out(store: DatabaseStore) -> None:
    store.save_devices([DeviceInfo("cpu:0", "cpu", "CPU", 1)])
    assert changes(store, lambda: leases.lease_device("job", 60))
    assert not changes(store, lambda: leases.renew("job", 60))
    past = timezone.now() - timedelta(seconds=1)
    assert changes(store, lambda: DeviceOwner.objects.update(expires_at=past))
    assert store.leased_devices() == set()
    leases.lease_device("job", 60)
    assert changes(store, lambda: leases.release("job"))


def test_it_stays_while_counters_samples_and_readings_are_written(store: DatabaseStore, deployment: Deployment) -> None:
    row = store.create_replica(str(deployment.pk), 0, ("cpu:0",))
    assert row is not None
    store.begin_life(row.id, LIFE)

    def write() -> None:
        store.save_counters(LIFE.id, Counters(1, 2, 3, 4, 0.5, time.time()))
        store.record_sample("m", Load(), time.time())
        store.save_devices([DeviceInfo("cpu:0", "cpu", "CPU", 1)])

    assert not changes(store, write)
