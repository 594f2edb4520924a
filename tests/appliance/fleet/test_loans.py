"""A replica's devices lent to a fine-tune and taken back, on a real PostgreSQL: one owner all the while."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from appliance.audit.models import AuditEntry
from appliance.fleet import deployments, leases, lending, loans
from appliance.fleet.models import Deployment, DeviceOwner, DeviceWish, EngineLife, Replica
from appliance.fleet.store import DatabaseStore
from appliance.registry.models import EngineSlot, ModelVersion
from inference.pool.lend_policy import Lending, Loan, Window
from inference.pool.states import ReplicaState
from tests.appliance.fleet.test_leases import at_once, device
from tests.appliance.fleet.test_store import life

pytestmark = pytest.mark.usefixtures("db")
S = ReplicaState
JOB, OTHER = "ftjob-1", "ftjob-2"


@pytest.fixture
def store(tmp_path: Path) -> DatabaseStore:
    store = DatabaseStore(tmp_path / "stopping")
    store.save_devices([device(0), device(1)])
    return store


@pytest.fixture
def deployment(db: None) -> Deployment:
    slot = EngineSlot.objects.create(name="cpu-1", flavour="cpu", engine_version="1", path="/slots/cpu-1", digest="d")
    model = ModelVersion.objects.create(name="m", path="/models/m", digest="d", max_model_len=512)
    return Deployment.objects.create(model=model, slot=slot, max_model_len=512, replicas=2, lends=True)


@pytest.fixture
def lender(store: DatabaseStore, deployment: Deployment) -> str:
    """A ready replica that owns the device cpu:1; another one serves on cpu:0."""
    for index in (0, 1):
        row = store.create_replica(str(deployment.pk), index, (f"cpu:{index}",))
        assert row is not None
        store.begin_life(row.id, life(str(index)))
        Replica.objects.filter(id=row.id).update(state=S.READY.value)
    return row.id


def put_to_sleep(replica: str) -> None:
    Replica.objects.filter(id=replica).update(state=S.SLEEPING.value)


def lent(store: DatabaseStore, replica: str) -> None:
    """Take a loan as far as the fine-tune's reservation."""
    assert loans.ask(JOB, 0)
    assert store.lend(replica, JOB)
    put_to_sleep(replica)
    assert store.hand_over(replica, JOB)


def owner_of(device_id: str) -> str:
    row = DeviceOwner.objects.get(device_id=device_id)
    return str(row.replica_id or row.job_id)


def loan(store: DatabaseStore, replica: str) -> Loan | None:
    return next(row.loan for row in store.replicas() if row.id == replica)


def test_a_device_goes_to_the_fine_tune_and_comes_back(store: DatabaseStore, lender: str) -> None:
    assert loans.ask(JOB, 0)
    assert store.wishes() == [JOB]
    assert store.lend(lender, JOB)
    assert loan(store, lender) == Loan(JOB)
    assert not store.hand_over(lender, JOB), "its engine works"
    put_to_sleep(lender)
    assert store.hand_over(lender, JOB)
    assert loan(store, lender) == Loan(JOB, given=True)
    assert loans.is_reserved(JOB)
    assert store.leased_devices() == {"cpu:1"}
    assert leases.lease_device(f"{OTHER}/1", 60) is None, "it is for the one that asked"
    assert leases.lease_device(f"{JOB}/4", 60) == "cpu:1"
    assert owner_of("cpu:1") == f"{JOB}/4"
    assert store.wishes() == []
    assert not store.take_back(lender), "somebody has it"
    leases.release(f"{JOB}/4")
    assert not leases.any_free(), "it comes back to its replica"
    assert leases.lease_device(f"{OTHER}/1", 60) is None
    assert store.take_back(lender)
    assert (owner_of("cpu:1"), loan(store, lender)) == (lender, None)
    assert not store.take_back(lender), "said twice"


def test_a_lease_that_ran_out_comes_back_and_its_holder_is_told(store: DatabaseStore, lender: str) -> None:
    lent(store, lender)
    assert leases.lease_device(f"{JOB}/1", 60) == "cpu:1"
    DeviceOwner.objects.filter(job_id=f"{JOB}/1").update(expires_at=timezone.now() - timedelta(seconds=1))
    assert store.leased_devices() == set()
    assert store.take_back(lender)
    assert not leases.renew(f"{JOB}/1", 60)
    assert owner_of("cpu:1") == lender


def test_a_reservation_that_nobody_claims_comes_back(store: DatabaseStore, lender: str) -> None:
    lent(store, lender)
    DeviceOwner.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert leases.lease_device(f"{JOB}/1", 60) is None
    assert store.take_back(lender)


def test_a_fine_tune_that_is_paused_gives_its_reservation_back(store: DatabaseStore, lender: str) -> None:
    lent(store, lender)
    loans.forget(JOB)
    assert store.leased_devices() == set()
    assert store.wishes() == []
    assert store.take_back(lender)


def test_nothing_is_handed_over_to_one_that_waits_no_longer(store: DatabaseStore, lender: str) -> None:
    loans.ask(JOB, 0)
    assert store.lend(lender, JOB)
    put_to_sleep(lender)
    DeviceWish.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert not store.hand_over(lender, JOB)
    assert owner_of("cpu:1") == lender
    assert loan(store, lender) == Loan(JOB), "nothing of it was kept"


def test_of_those_who_move_a_device_at_once_one_wins(store: DatabaseStore, lender: str) -> None:
    for number in range(6):
        loans.ask(JOB, 0)
        assert store.lend(lender, JOB)
        put_to_sleep(lender)
        at_once(
            lambda: store.hand_over(lender, JOB),
            lambda: store.hand_over(lender, JOB),
            lambda: store.take_back(lender),
            lambda number=number: leases.lease_device(f"{JOB}/{number}", 60),
            lambda number=number: leases.lease_device(f"{OTHER}/{number}", 60),
            *([lambda: loans.forget(JOB)] if number % 2 else []),
        )
        holder = owner_of("cpu:1") if DeviceOwner.objects.filter(device_id="cpu:1").exists() else ""
        assert holder in {lender, f"{JOB}/lent", f"{JOB}/{number}", ""}
        now = loan(store, lender)
        assert (holder == lender) == (now is None or not now.given), "rows and owner say the same"
        leases.release(f"{JOB}/{number}")
        loans.forget(JOB)
        if now is not None:
            assert store.take_back(lender)
        assert owner_of("cpu:1") == lender
        Replica.objects.filter(id=lender).update(state=S.READY.value)


def test_it_is_lent_once_and_only_while_it_is_ready(store: DatabaseStore, lender: str) -> None:
    results = at_once(*[lambda number=number: store.lend(lender, f"ftjob-{number}") for number in range(4)])
    assert sorted(results, key=bool) == [False, False, False, True]
    assert store.take_back(lender), "called off before anything was given"
    Replica.objects.filter(id=lender).update(state=S.DRAINING.value)
    assert not store.lend(lender, JOB)


def test_a_deleted_replica_leaves_the_device_to_its_holder(store: DatabaseStore, lender: str) -> None:
    lent(store, lender)
    leases.lease_device(f"{JOB}/1", 60)
    store.delete_replica(lender)
    assert leases.renew(f"{JOB}/1", 60)
    leases.release(f"{JOB}/1")
    assert leases.any_free()


def test_asking_back_reaches_the_worker(store: DatabaseStore, lender: str) -> None:
    lent(store, lender)
    assert loans.asked_back(JOB) is None
    store.ask_back(lender, "lent, and asked back: outside the window 22:00-06:00")
    assert loans.asked_back(JOB) == "lent, and asked back: outside the window 22:00-06:00"
    assert loan(store, lender) == Loan(JOB, given=True, asked_back=True)


def test_the_gateway_sends_a_sleeping_replica_nothing_and_hears_of_every_step(
    store: DatabaseStore, lender: str
) -> None:
    before = gateway()
    assert len(before[0]) == 2
    lent(store, lender)
    now = gateway()
    assert lender not in now[0]
    assert len(now[0]) == 1
    assert now[1] > before[1]


def gateway() -> tuple[set[str], int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT replica_id FROM gateway_replicas")
        found = {row[0] for row in cursor.fetchall()}
        cursor.execute("SELECT value FROM gateway_generation")
        return found, cursor.fetchone()[0]


def test_a_wish_keeps_its_place_and_nobody_wishes_where_nothing_is_lent(deployment: Deployment) -> None:
    assert loans.ask(OTHER, 0)
    assert loans.ask(JOB, 0)
    assert loans.ask(OTHER, 0)
    assert loans.wishes() == [OTHER, JOB]
    assert loans.ask(OTHER, 1)
    assert loans.wishes() == [JOB, OTHER], "it is another one's turn by now"
    Deployment.objects.update(lends=False)
    assert not loans.ask("ftjob-3", 0)
    assert DeviceWish.objects.count() == 2


def test_the_policy_holds_for_the_name_and_is_on_record(store: DatabaseStore, deployment: Deployment) -> None:
    Deployment.objects.update(lends=False)
    assert store.desired()[0].lending is None
    assert lending.set_lending("m", Lending(2, Window.parse("22:00-06:00"))) == deployment
    assert store.desired()[0].lending == Lending(2, Window.parse("22:00-06:00"))
    other = ModelVersion.objects.create(name="m", path="/models/m2", digest="e", max_model_len=512)
    deployments.serve(other, deployment.slot, (), 1, 1)
    row = Deployment.objects.get(model=other)
    assert (row.lends, row.min_serving, row.lend_window) == (True, 2, "22:00-06:00")
    lending.set_lending("m", None)
    assert all(one.lending is None for one in store.desired())
    assert lending.set_lending("unknown", Lending()) is None
    details = AuditEntry.objects.filter(action="model.lend").order_by("seq").values_list("details", flat=True)
    assert [entry["lends"] for entry in details] == [True, False]


def test_a_policy_alone_starts_no_engine_anew(store: DatabaseStore, deployment: Deployment) -> None:
    way = store.desired()[0].way
    lending.set_lending("m", None)
    assert store.desired()[0].way == way
    assert not EngineLife.objects.exists()
