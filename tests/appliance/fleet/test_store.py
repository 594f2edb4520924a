"""The pool's store on a real PostgreSQL: compare-and-set, endings that happen once, what the gateway's views show."""

from __future__ import annotations

import json
import math
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.utils import timezone

from appliance.fleet.models import Deployment, EngineLife, Replica, Sample
from appliance.fleet.store import DatabaseStore
from appliance.registry.models import EngineSlot, ModelVersion
from appliance.tenants.keys import KeyLimits, mint, revoke
from appliance.tenants.models import Lane, Plan, Tenant
from inference.engines.histogram import Histogram
from inference.pool.states import ReplicaState
from inference.pool.store import Counters, DeviceInfo, Life, Load

pytestmark = pytest.mark.usefixtures("db")
S = ReplicaState


@pytest.fixture
def store(tmp_path: Path) -> DatabaseStore:
    return DatabaseStore(tmp_path / "stopping")


@pytest.fixture
def deployment(db: None) -> Deployment:
    slot = EngineSlot.objects.create(name="cpu-1", flavour="cpu", engine_version="1", path="/slots/cpu-1", digest="d")
    model = ModelVersion.objects.create(name="m", path="/models/m", digest="d", max_model_len=512)
    return Deployment.objects.create(model=model, slot=slot, max_model_len=512, flags=["--x"])


def life(way: str = "") -> Life:
    return Life(
        id=str(uuid.uuid4()),
        pid=1,
        pid_started=2,
        socket=Path("/run/x.sock"),
        log=Path("/x.log"),
        started_at=time.time(),
        way=way,
    )


def ready_replica(store: DatabaseStore, deployment: Deployment) -> tuple[str, Life]:
    row = store.create_replica(str(deployment.id), 0, ("cpu:0",))
    began = life()
    for old, new in ((S.STOPPED, S.STARTING), (S.STARTING, S.LOADING)):
        assert store.move(row.id, old, new)
    store.begin_life(row.id, began)
    for old, new in ((S.LOADING, S.WARMING), (S.WARMING, S.READY)):
        assert store.move(row.id, old, new)
    return row.id, began


def view(name: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {name}")
        return list(cursor.fetchall())


def generation() -> int:
    return int(str(view("gateway_generation")[0][1]))


def test_desired_carries_what_an_engine_needs(store: DatabaseStore, deployment: Deployment) -> None:
    (wanted,) = store.desired()
    assert (wanted.model, wanted.model_path, wanted.slot_python) == (
        "m",
        Path("/models/m"),
        Path("/slots/cpu-1/bin/python"),
    )
    assert wanted.flags == ("--x",)
    assert wanted.running


def test_one_of_many_movers_wins(store: DatabaseStore, deployment: Deployment) -> None:
    row = store.create_replica(str(deployment.id), 0, ())
    wins: list[bool] = []

    def move() -> None:
        try:
            wins.append(store.move(row.id, S.STOPPED, S.STARTING))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=move) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == [False] * 7 + [True]


def test_only_ready_replicas_are_shown_to_the_gateway(store: DatabaseStore, deployment: Deployment) -> None:
    replica, began = ready_replica(store, deployment)
    assert view("gateway_replicas") == [(replica, began.id, "m", "/run/x.sock", None, None)]
    before = generation()
    assert store.move(replica, S.READY, S.DRAINING)
    assert view("gateway_replicas") == []
    assert generation() > before
    assert [row[0] for row in view("gateway_models")] == ["m"], "a model without a ready replica is known all the same"
    Deployment.objects.update(running=False)
    assert view("gateway_models") == []


def test_counters_do_not_disturb_the_gateway(store: DatabaseStore, deployment: Deployment) -> None:
    _, began = ready_replica(store, deployment)
    before = generation()
    store.save_counters(began.id, Counters(10, 20, 1, 0, 0.5, time.time()))
    assert generation() == before


def test_a_life_ends_once_and_keeps_its_last_counters(store: DatabaseStore, deployment: Deployment) -> None:
    replica, began = ready_replica(store, deployment)
    store.save_counters(began.id, Counters(10, 20, 1, 2, 0.5, time.time()))
    store.end_life(began.id, "killed", None)
    first = EngineLife.objects.get(id=began.id)
    store.end_life(began.id, "again", None)
    second = EngineLife.objects.get(id=began.id)
    assert (second.ended_at, second.end_reason) == (first.ended_at, "killed")
    assert (second.prompt_tokens, second.generation_tokens, second.requests_running) == (10, 20, 0)
    assert Replica.objects.get(id=replica).life is None
    store.delete_replica(replica)
    assert EngineLife.objects.filter(id=began.id).exists(), "the counters stay for reconciliation"


def test_a_replica_reads_back_as_it_was_written(store: DatabaseStore, deployment: Deployment) -> None:
    replica, began = ready_replica(store, deployment)
    store.set_backoff(replica, 3, 1_900_000_000.0)
    (row,) = store.replicas()
    assert (row.id, row.state, row.devices, row.restarts, row.next_start_at) == (
        replica,
        S.READY,
        ("cpu:0",),
        3,
        1_900_000_000.0,
    )
    assert row.life is not None
    assert (row.life.id, row.life.pid, row.life.pid_started, row.life.socket) == (began.id, 1, 2, Path("/run/x.sock"))


def test_devices_that_are_gone_leave_the_inventory(store: DatabaseStore) -> None:
    def device(number: int, healthy: bool = True) -> DeviceInfo:
        return DeviceInfo(id=f"cpu:{number}", kind="cpu", name="c", memory_bytes=1, healthy=healthy)

    store.save_devices([device(0), device(1)])
    store.save_devices([device(0, healthy=False)])
    from appliance.fleet.models import Device

    assert list(Device.objects.values_list("id", "healthy")) == [("cpu:0", False)]


def test_a_sample_keeps_its_latencies_percentiles_in_ms(store: DatabaseStore) -> None:
    quick = Histogram(((0.1, 98), (0.5, 2), (math.inf, 0)))
    store.record_sample("m", Load(1.0, 2.0, 1, 0, 0.1, ttft=quick), time.time())
    row = Sample.objects.get()
    assert (row.model_name, row.output_tps, row.tpot_p50_ms, row.tpot_p99_ms) == ("m", 2.0, None, None)
    assert (row.ttft_p50_ms, row.ttft_p99_ms) == (pytest.approx(51.02, abs=0.01), pytest.approx(300))


def test_samples_older_than_a_week_go(store: DatabaseStore) -> None:
    store.record_sample("m", Load(), time.time())
    Sample.objects.update(at=timezone.now() - timedelta(days=8))
    DatabaseStore(Path("stopping")).record_sample("m", Load(), time.time())
    assert Sample.objects.count() == 1


def test_the_gateway_sees_keys_that_work_and_no_others(store: DatabaseStore) -> None:
    plan = Plan.objects.create(name="p")
    tenant = Tenant.objects.create(id="alpha", name="Alpha", plan=plan)
    row, key = mint(tenant, "k")
    assert [found[1] for found in view("gateway_keys")] == [str(row.id)]
    assert key not in str(view("gateway_keys"))
    assert revoke(row)
    assert not revoke(row)
    assert view("gateway_keys") == []
    mint(tenant, "another")
    Tenant.objects.update(is_active=False)
    assert view("gateway_keys") == []


def test_stop_is_asked_for_by_a_marker(store: DatabaseStore, tmp_path: Path) -> None:
    assert not store.stop_requested()
    (tmp_path / "stopping").touch()
    assert store.stop_requested()


def test_the_views_show_the_deployment_that_serves(store: DatabaseStore, deployment: Deployment) -> None:
    replica, _ = ready_replica(store, deployment)
    newer = ModelVersion.objects.create(name="m", path="/models/m2", digest="e", max_model_len=256)
    beside = Deployment.objects.create(model=newer, slot=deployment.slot, max_model_len=256, serves=False)
    assert [row[3] for row in view("gateway_models")] == [512]
    with transaction.atomic():
        Deployment.objects.filter(pk=deployment.pk).update(serves=False)
        Deployment.objects.filter(pk=beside.pk).update(serves=True)
    assert [row[3] for row in view("gateway_models")] == [256]
    assert replica not in [row[0] for row in view("gateway_replicas")]


def test_two_deployments_never_serve_one_name(deployment: Deployment) -> None:
    newer = ModelVersion.objects.create(name="m", path="/models/m2", digest="e", max_model_len=256)
    with pytest.raises(IntegrityError, match="one_serving_deployment_per_name"), transaction.atomic():
        Deployment.objects.create(model=newer, slot=deployment.slot, max_model_len=256)


def test_the_view_of_keys_tells_limits_and_prices_and_none_for_the_system(db: None) -> None:
    plan = Plan.objects.create(name="p", tokens_per_day=5, model_limits={"m": {"max_concurrency": 2}})
    for name in ("acme", "system"):
        mint(Tenant.objects.create(id=name, name=name, plan=plan), "laptop")
    limits = {found[2]: found[7] for found in view("gateway_keys")}
    assert limits["system"] is None
    told = json.loads(limits["acme"]) if isinstance(limits["acme"], str) else limits["acme"]
    assert told["tenant"]["tokens_per_day"] == 5
    assert told["tenant"]["requests_per_minute"] == 3000
    assert told["models"] == {"m": {"max_concurrency": 2}}
    assert told["prices"] == [1_000_000, 100_000, 2_000_000]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], None),
        (["--max-num-seqs", "8"], 8),
        (["--max-num-seqs=12", "--seed", "1"], 12),
        (["--max-num-seqs", "8", "--max-num-seqs=64"], 64),
        (["--max-num-seqs"], None),
        (["--max-num-seqs", "many"], None),
    ],
)
def test_the_view_of_replicas_tells_how_many_sequences_an_engine_runs_at_once(
    store: DatabaseStore, deployment: Deployment, flags: list[str], told: int | None
) -> None:
    Deployment.objects.filter(pk=deployment.pk).update(flags=flags)
    ready_replica(store, deployment)
    assert [found[4] for found in view("gateway_replicas")] == [told]


def test_the_view_of_keys_tells_lane_and_weight(db: None) -> None:
    tenant = Tenant.objects.create(id="acme", name="acme", plan=Plan.objects.create(name="p", weight=300))
    mint(tenant, "laptop")
    mint(tenant, "nightly", lane=Lane.BATCH)
    assert sorted(found[8:10] for found in view("gateway_keys")) == [("", 300), ("batch", 300)]


def test_the_view_of_keys_gives_a_batchs_key_the_limits_of_the_key_that_made_it(db: None) -> None:
    tenant = Tenant.objects.create(id="acme", name="acme", plan=Plan.objects.create(name="p"))
    made_by, _ = mint(tenant, "laptop", limits=KeyLimits(7, monthly_budget_micros=500, allowed_models=["m"]))
    batch, _ = mint(tenant, "batch", lane=Lane.BATCH, limits_of=made_by)
    found = {row[1]: row for row in view("gateway_keys")}
    limits = {key: json.loads(row[7]) if isinstance(row[7], str) else row[7] for key, row in found.items()}
    assert limits[str(batch.pk)] == limits[str(made_by.pk)]
    own = {name: limit for name, limit in limits[str(batch.pk)]["key"].items() if limit is not None}
    assert own == {"requests_per_minute": 7, "spend_micros": 500}
    assert found[str(batch.pk)][11] == found[str(made_by.pk)][11] == ["m"]
    assert (found[str(batch.pk)][10], found[str(made_by.pk)][10]) == (str(made_by.pk), "")


def test_the_view_of_keys_tells_all_limits_of_a_key_and_its_models(db: None) -> None:
    tenant = Tenant.objects.create(id="acme", name="acme", plan=Plan.objects.create(name="p"))
    mint(tenant, "laptop", limits=KeyLimits(1, 2, 3, 4, 5, 6, ["m", "editors"]))
    (row,) = view("gateway_keys")
    limits = json.loads(row[7]) if isinstance(row[7], str) else row[7]
    assert limits["key"] == {
        "requests_per_minute": 1, "concurrency": 2, "tokens_per_minute": 3, "tokens_per_day": 4, "tokens_per_month": 5,
        "spend_micros": 6,
    }  # fmt: skip
    assert row[11] == ["m", "editors"]
