"""Adapters in the pool's store and in the gateway's views, on a real PostgreSQL: who has them loaded, who may see them."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from appliance.fleet.models import AdapterLoad, Deployment
from appliance.fleet.store import DatabaseStore
from appliance.registry.models import Adapter, AdapterState, EngineSlot, ModelVersion
from appliance.tenants.models import Plan, Tenant
from tests.appliance.fleet.test_store import S, generation, life, ready_replica, view

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def store(tmp_path: Path) -> DatabaseStore:
    return DatabaseStore(tmp_path / "stopping")


@pytest.fixture
def deployment(db: None) -> Deployment:
    slot = EngineSlot.objects.create(name="cpu-1", flavour="cpu", engine_version="1", path="/slots/cpu-1", digest="d")
    model = ModelVersion.objects.create(name="m", path="/models/m", digest="d", max_model_len=512, fim=True)
    return Deployment.objects.create(model=model, slot=slot, max_model_len=256)


@pytest.fixture
def adapter(deployment: Deployment) -> Adapter:
    tenant = Tenant.objects.create(id="acme", name="Acme", plan=Plan.objects.create(name="p"))
    return Adapter.objects.create(
        name="ft:m:acme:pay:1", tenant=tenant, base=deployment.model, path="/adapters/1", digest="e", rank=8,
        state=AdapterState.ACTIVE,
    )  # fmt: skip


def replicas_of(name: str) -> list[tuple[object, ...]]:
    return [row[:4] for row in view("gateway_replicas") if row[2] == name]


@pytest.mark.parametrize("state", AdapterState)
def test_only_adapters_under_test_and_in_use_are_desired(
    store: DatabaseStore, deployment: Deployment, adapter: Adapter, state: AdapterState
) -> None:
    Deployment.objects.create(model=deployment.model, slot=deployment.slot, max_model_len=64, running=False)
    Adapter.objects.update(state=state)
    wished = store.desired_adapters()
    if state not in (AdapterState.CANDIDATE, AdapterState.ACTIVE):
        assert wished == []
        return
    (one,) = wished
    assert (one.id, one.name, one.deployment_id) == (str(adapter.id), adapter.name, str(deployment.id))
    assert (one.path, one.digest, one.rank, one.pinned) == (Path("/adapters/1"), "e", 8, False)


def test_a_pin_is_new_to_the_pool(store: DatabaseStore, adapter: Adapter) -> None:
    before = store.stamp()
    Adapter.objects.update(pinned=True)
    assert store.stamp() != before
    assert [one.pinned for one in store.desired_adapters()] == [True]


def test_adapters_of_a_base_that_is_not_served_are_not_desired(store: DatabaseStore, adapter: Adapter) -> None:
    Deployment.objects.update(running=False)
    assert store.desired_adapters() == []


def test_loads_are_kept_by_life_and_replaced(store: DatabaseStore, deployment: Deployment, adapter: Adapter) -> None:
    _, began = ready_replica(store, deployment)
    store.record_adapter(began.id, str(adapter.id), False, "no room")
    assert store.adapter_loads(began.id) == {str(adapter.id): False}
    store.record_adapter(began.id, str(adapter.id), True, "")
    store.record_adapter(began.id, str(adapter.id), True, "")
    assert store.adapter_loads(began.id) == {str(adapter.id): True}
    assert store.adapter_loads(str(uuid.uuid4())) == {}
    store.forget_adapter(began.id, str(adapter.id))
    store.forget_adapter(began.id, str(adapter.id))
    assert store.adapter_loads(began.id) == {}


def test_a_load_of_a_deleted_adapter_is_dropped(store: DatabaseStore, deployment: Deployment, adapter: Adapter) -> None:
    _, began = ready_replica(store, deployment)
    adapter_id = str(adapter.id)
    adapter.delete()
    store.record_adapter(began.id, adapter_id, True, "")
    assert not AdapterLoad.objects.exists()


@pytest.mark.parametrize("state", AdapterState)
def test_the_gateway_sees_adapters_in_use_and_no_others(adapter: Adapter, state: AdapterState) -> None:
    before = generation()
    Adapter.objects.update(state=state)
    assert generation() > before
    base, *others = view("gateway_models")
    assert (*base[:2], *base[3:]) == ("m", "coderack", 256, "/models/m", True, None, "m")
    seen = [(adapter.name, "acme", 256, "/models/m", True, "acme", "m")] if state is AdapterState.ACTIVE else []
    assert [(*row[:2], *row[3:]) for row in others] == seen


def test_requests_go_to_ready_engines_that_have_the_adapter(
    store: DatabaseStore, deployment: Deployment, adapter: Adapter
) -> None:
    replica, began = ready_replica(store, deployment)
    assert replicas_of(adapter.name) == []
    store.record_adapter(began.id, str(adapter.id), False, "no room")
    assert replicas_of(adapter.name) == []
    before = generation()
    store.record_adapter(began.id, str(adapter.id), True, "")
    assert generation() > before, "the gateway is told"
    assert replicas_of(adapter.name) == [(replica, began.id, adapter.name, "/run/x.sock")]
    assert replicas_of("m") == [(replica, began.id, "m", "/run/x.sock")]
    before = generation()
    store.forget_adapter(began.id, str(adapter.id))
    assert generation() > before
    assert replicas_of(adapter.name) == []


@pytest.mark.parametrize("state", [AdapterState.CANDIDATE, AdapterState.WAITING, AdapterState.WITHDRAWN])
def test_a_loaded_adapter_that_is_not_in_use_gets_no_requests(
    store: DatabaseStore, deployment: Deployment, adapter: Adapter, state: AdapterState
) -> None:
    _, began = ready_replica(store, deployment)
    store.record_adapter(began.id, str(adapter.id), True, "")
    Adapter.objects.update(state=state)
    assert replicas_of(adapter.name) == []


def test_what_an_ended_life_had_loaded_counts_no_more(
    store: DatabaseStore, deployment: Deployment, adapter: Adapter
) -> None:
    replica, began = ready_replica(store, deployment)
    store.record_adapter(began.id, str(adapter.id), True, "")
    assert store.move(replica, S.READY, S.FAILED)
    store.end_life(began.id, "killed", None)
    again = life()
    store.begin_life(replica, again)
    for old, new in ((S.FAILED, S.STARTING), (S.STARTING, S.LOADING), (S.LOADING, S.WARMING), (S.WARMING, S.READY)):
        assert store.move(replica, old, new)
    assert replicas_of(adapter.name) == []
    assert len(replicas_of("m")) == 1


def test_the_gateways_role_reads_the_views_before_and_after_the_way_back(adapter: Adapter) -> None:
    def granted() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT has_table_privilege('coderack_gateway', 'gateway_models', 'SELECT')")
            return bool(cursor.fetchone()[0])

    assert granted()
    try:
        call_command("migrate", "fleet", "0003", verbosity=0)
        assert granted()
        assert [row[0] for row in view("gateway_models")] == ["m"]
        assert len(view("gateway_models")[0]) == 6
    finally:
        call_command("migrate", verbosity=0)
    assert granted()
    assert {row[0] for row in view("gateway_models")} == {"m", adapter.name}
