"""One owner per device, on a real PostgreSQL: fine-tunes and replicas never hold the same one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.utils import timezone

from appliance.fleet import leases
from appliance.fleet.models import Deployment, Device, DeviceOwner, Replica
from appliance.fleet.store import DatabaseStore
from appliance.registry.models import EngineSlot, ModelVersion
from inference.devices import DeviceProcess
from inference.pool.store import DeviceInfo

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def store(tmp_path: Path) -> DatabaseStore:
    store = DatabaseStore(tmp_path / "stopping")
    store.save_devices([device(number) for number in (0, 1, 2, 10)])
    return store


@pytest.fixture
def deployment(db: None) -> str:
    slot = EngineSlot.objects.create(name="cpu-1", flavour="cpu", engine_version="1", path="/slots/cpu-1", digest="d")
    model = ModelVersion.objects.create(name="m", path="/models/m", digest="d", max_model_len=512)
    return str(Deployment.objects.create(model=model, slot=slot, max_model_len=512).id)


def device(number: int, healthy: bool = True) -> DeviceInfo:
    return DeviceInfo(id=f"cpu:{number}", kind="cpu", name="c", memory_bytes=1, healthy=healthy)


def expire(job_id: str) -> None:
    DeviceOwner.objects.filter(job_id=job_id).update(expires_at=timezone.now() - timedelta(seconds=1))


def at_once(*calls: Callable[[], object]) -> list[object]:
    """The results of calls that begin together, each on a connection of its own."""
    gate, results = threading.Barrier(len(calls)), list[object]()

    def run(call: Callable[[], object]) -> None:
        try:
            gate.wait()
            results.append(call())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_it_lends_the_highest_number_first(store: DatabaseStore) -> None:
    assert [leases.lease_device(f"job-{n}", 60) for n in range(5)] == ["cpu:10", "cpu:2", "cpu:1", "cpu:0", None]
    assert store.leased_devices() == {"cpu:0", "cpu:1", "cpu:2", "cpu:10"}
    assert not leases.any_free()


def test_it_lends_nothing_unhealthy_or_owned(store: DatabaseStore, deployment: str) -> None:
    store.save_devices([device(0), device(1), device(2, healthy=False)])
    assert store.create_replica(deployment, 0, ("cpu:1",)) is not None
    assert leases.lease_device("job", 60) == "cpu:0"
    assert leases.lease_device("other", 60) is None


def test_one_owner_has_one_device_however_often_it_asks(store: DatabaseStore) -> None:
    assert leases.lease_device("job", 60) == leases.lease_device("job", 60) == "cpu:10"
    assert DeviceOwner.objects.count() == 1


def test_many_callers_at_once_never_get_the_same_device(store: DatabaseStore) -> None:
    for round_number in range(5):
        names = [f"job-{round_number}-{number}" for number in range(8)]
        results = at_once(*[lambda name=name: leases.lease_device(name, 60) for name in names])
        given = [device_id for device_id in results if device_id is not None]
        assert sorted(given) == sorted(set(given))
        assert len(given) == 4
        for name in names:
            leases.release(name)


def test_of_replicas_that_want_the_same_devices_at_once_one_gets_them(store: DatabaseStore, deployment: str) -> None:
    for _ in range(5):
        results = at_once(
            lambda: store.create_replica(deployment, 0, ("cpu:0", "cpu:1")),
            lambda: store.create_replica(deployment, 1, ("cpu:1", "cpu:0")),  # the other way round: no deadlock
            lambda: store.create_replica(deployment, 2, ("cpu:1", "cpu:2")),
            lambda: leases.lease_device("job", 60),
        )
        assert len(results) == 4
        owned = list(DeviceOwner.objects.exclude(replica=None).values_list("device_id", "replica__index"))
        for index in range(3):
            devices = [device_id for device_id, owner in owned if owner == index]
            assert len(devices) in {0, 2}, "all of its devices or none"
        assert Replica.objects.count() == len({owner for _, owner in owned}), "who got none is not there"
        assert DeviceOwner.objects.exclude(job_id=None).count() == 1
        assert Replica.objects.exists()
        Replica.objects.all().delete()
        leases.release("job")


def test_it_tells_who_holds_what(store: DatabaseStore, deployment: str) -> None:
    store.create_replica(deployment, 0, ("cpu:1", "cpu:2"))
    leases.lease_device("job-7/3", 60)
    assert leases.owners() == {"cpu:1": "m/0", "cpu:2": "m/0", "cpu:10": "job-7"}


def test_it_keeps_what_was_read_of_a_device(store: DatabaseStore) -> None:
    other = DeviceProcess(4711, "python", None)
    read = replace(device(0), power_w=98.5, group="nvlink-0", foreign=(other,))
    store.save_devices([read])
    row = Device.objects.get()
    assert (row.power_w, row.link_group) == (98.5, "nvlink-0")
    assert row.foreign == [{"pid": 4711, "name": "python", "memory_bytes": None}]


def test_an_expired_device_goes_to_one_of_those_who_want_it(store: DatabaseStore, deployment: str) -> None:
    store.save_devices([device(0)])
    for index in range(5):
        assert leases.lease_device("old", 60) == "cpu:0"
        expire("old")
        results = at_once(
            lambda: leases.lease_device("a", 60),
            lambda: leases.lease_device("b", 60),
            lambda index=index: store.create_replica(deployment, index, ("cpu:0",)),
        )
        assert sum(result is not None for result in results) == 1
        assert not leases.renew("old", 60)
        leases.release("a")
        leases.release("b")
        Replica.objects.all().delete()


def test_a_lease_that_was_renewed_is_not_taken(store: DatabaseStore, deployment: str) -> None:
    store.save_devices([device(0)])
    assert leases.lease_device("job", 60) == "cpu:0"
    expire("job")
    assert store.leased_devices() == set()
    assert leases.any_free()
    assert leases.renew("job", 60)
    assert store.leased_devices() == {"cpu:0"}
    assert store.create_replica(deployment, 0, ("cpu:0",)) is None
    assert leases.lease_device("other", 60) is None


def test_a_lease_runs_out_by_the_clock(store: DatabaseStore) -> None:
    leases.lease_device("job", 0.3)
    assert store.leased_devices() == {"cpu:10"}
    time.sleep(0.4)
    assert store.leased_devices() == set()
    assert leases.lease_device("other", 60) == "cpu:10"
    assert not leases.renew("job", 60)


def test_a_given_back_device_is_free(store: DatabaseStore) -> None:
    leases.lease_device("job", 60)
    leases.release("job")
    leases.release("job")
    assert store.leased_devices() == set()
    assert not leases.renew("job", 60)


def test_a_replica_is_not_made_where_one_of_its_devices_is_lent(store: DatabaseStore, deployment: str) -> None:
    assert leases.lease_device("job", 60) == "cpu:10"
    assert store.create_replica(deployment, 0, ("cpu:1", "cpu:10")) is None
    assert not Replica.objects.exists()
    assert set(DeviceOwner.objects.values_list("device_id", "job_id")) == {("cpu:10", "job")}
    row = store.create_replica(deployment, 0, ("cpu:1", "cpu:2"))
    assert row is not None
    assert set(DeviceOwner.objects.filter(replica=row.id).values_list("device_id", flat=True)) == {"cpu:1", "cpu:2"}
    assert store.create_replica(deployment, 1, ("cpu:2",)) is None
    store.delete_replica(row.id)
    assert set(DeviceOwner.objects.values_list("job_id", flat=True)) == {"job"}


def test_a_replica_without_devices_owns_nothing(store: DatabaseStore, deployment: str) -> None:
    assert store.create_replica(deployment, 0, ()) is not None
    assert not DeviceOwner.objects.exists()


def test_replicas_from_before_own_their_devices_after_the_migration(store: DatabaseStore, deployment: str) -> None:
    call_command("migrate", "fleet", "0004", verbosity=0)
    for index, devices in enumerate((["cpu:0", "cpu:1"], ["cpu:2"], [])):
        with connection.cursor() as cursor:  # the model has columns that were not there
            cursor.execute(
                "INSERT INTO fleet_replica (id, deployment_id, index, state, reason, devices, restarts, state_since) "
                "VALUES (gen_random_uuid(), %s, %s, 'ready', '', %s::varchar(32)[], 0, now())",
                [deployment, index, devices],
            )
    call_command("migrate", verbosity=0)
    owners = dict(DeviceOwner.objects.values_list("device_id", "replica__index"))
    assert owners == {"cpu:0": 0, "cpu:1": 0, "cpu:2": 1}
    assert leases.lease_device("job", 60) == "cpu:10"
