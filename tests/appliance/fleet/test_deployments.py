"""Deployments begun, changed and replaced: what the pool is to do, and what the audit log says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.audit.models import AuditEntry
from appliance.fleet import deployments
from appliance.fleet.errors import SlotRefused
from appliance.fleet.fit import refuse_misfit
from appliance.fleet.models import Deployment, Device, EngineLife, Replica
from appliance.fleet.slots import slots_in_use
from appliance.fleet.store import DatabaseStore
from appliance.registry.models import EngineSlot, ModelVersion
from inference.catalog.errors import BadFlags, CannotRun
from inference.pool.states import ReplicaState
from tests.appliance.fleet.test_store import life

pytestmark = pytest.mark.usefixtures("db")
LITE = "deepseek-coder-v2-lite-instruct"
S = ReplicaState


@pytest.fixture
def slot(db: None) -> EngineSlot:
    return EngineSlot.objects.create(name="cpu-1", flavour="cpu", engine_version="1", path="/slots/cpu-1", digest="d")


@pytest.fixture
def model(db: None, tmp_path: Path) -> ModelVersion:
    (tmp_path / "config.json").write_text(json.dumps({"torch_dtype": "bfloat16"}))
    return ModelVersion.objects.create(name="m", path=str(tmp_path), digest="d", max_model_len=512, preset=LITE)


@pytest.fixture
def running(slot: EngineSlot, model: ModelVersion, tmp_path: Path) -> tuple[Deployment, DatabaseStore]:
    """A served model with one ready engine."""
    store = DatabaseStore(tmp_path / "stopping")
    deployments.serve(model, slot, ("--x",), 1, 1)
    [wanted] = store.desired()
    row = store.create_replica(wanted.id, 0, ("cpu:0",))
    assert row is not None
    began = life(wanted.way)
    store.begin_life(row.id, began)
    for old, new in ((S.STOPPED, S.STARTING), (S.STARTING, S.LOADING), (S.LOADING, S.WARMING), (S.WARMING, S.READY)):
        assert store.move(row.id, old, new)
    return Deployment.objects.get(), store


def outdated(running: tuple[Deployment, DatabaseStore]) -> bool:
    """As the pool sees it: the row's way is not the wanted one."""
    [wanted], [row] = running[1].desired(), running[1].replicas()
    assert row.life is not None
    assert deployments.runs_outdated(Deployment.objects.get()) == (row.life.way != wanted.way)
    return row.life.way != wanted.way


def test_the_same_again_replaces_nothing(running: tuple[Deployment, DatabaseStore]) -> None:
    row = running[0]
    assert not deployments.serve(row.model, row.slot, ("--x",), 3, 1)
    assert not outdated(running)


def test_other_flags_replace_the_engines(running: tuple[Deployment, DatabaseStore]) -> None:
    row = running[0]
    assert deployments.serve(row.model, row.slot, ("--y",), 1, 1)
    assert outdated(running)
    assert not deployments.serve(row.model, row.slot, ("--x",), 1, 1)
    assert not outdated(running)


def test_a_restart_replaces_them(running: tuple[Deployment, DatabaseStore]) -> None:
    assert deployments.restart("m", may_pause=True) is not None
    assert outdated(running)
    assert running[1].desired()[0].may_pause
    assert AuditEntry.objects.get(action="model.restart").details == {"may_pause": True}


def test_a_restart_does_not_wait_for_a_back_off(running: tuple[Deployment, DatabaseStore]) -> None:
    row, store = running
    failed = store.create_replica(str(row.pk), 1, ("cpu:1",))
    assert failed is not None
    store.set_backoff(failed.id, 7, 4e9)
    deployments.restart("m", may_pause=False)
    again = Replica.objects.get(pk=failed.id)
    assert (again.restarts, again.next_start_at) == (0, None)


def test_another_slot_replaces_them_and_the_old_one_takes_that_back(running: tuple[Deployment, DatabaseStore]) -> None:
    row = running[0]
    newer = EngineSlot.objects.create(name="cpu-2", flavour="cpu", engine_version="2", path="/slots/cpu-2", digest="e")
    assert deployments.use_slot("m", newer) is not None
    assert outdated(running)
    assert running[1].desired()[0].slot_python == Path("/slots/cpu-2/bin/python")
    assert deployments.use_slot("m", row.slot) is not None
    assert not outdated(running)
    assert AuditEntry.objects.filter(action="engine.use").count() == 2


@pytest.mark.parametrize("change", ["restart", "slot", "flags"])
def test_engines_from_before_their_way_was_recorded_are_replaced_too(
    running: tuple[Deployment, DatabaseStore], change: str
) -> None:
    row = running[0]
    EngineLife.objects.update(way="")
    assert not deployments.serve(row.model, row.slot, ("--x",), 2, 1)
    EngineLife.objects.update(way="")
    newer = EngineSlot.objects.create(name="cpu-2", flavour="cpu", engine_version="2", path="/slots/cpu-2", digest="e")
    {
        "restart": lambda: deployments.restart("m", may_pause=False),
        "slot": lambda: deployments.use_slot("m", newer),
        "flags": lambda: deployments.serve(row.model, newer, ("--y",), 1, 1),
    }[change]()
    assert outdated(running)


def test_a_slot_of_another_flavour_is_refused(running: tuple[Deployment, DatabaseStore]) -> None:
    row = running[0]
    other = EngineSlot.objects.create(name="cuda-2", flavour="cuda", engine_version="2", path="/slots/c", digest="e")
    with pytest.raises(SlotRefused, match="engines here need cpu"):
        deployments.use_slot("m", other)
    assert Deployment.objects.get().slot == row.slot
    assert not AuditEntry.objects.filter(action="engine.use").exists()


def test_the_devices_say_which_slot_it_is(running: tuple[Deployment, DatabaseStore]) -> None:
    row = running[0]
    cuda = EngineSlot.objects.create(name="cuda-1", flavour="cuda", engine_version="2", path="/slots/c", digest="e")
    assert deployments.newest_slot() == cuda
    Device.objects.create(id="cpu:0", kind="cpu", name="CPU", memory_bytes=1, seen_at="2026-01-01T00:00Z")
    assert deployments.newest_slot() == row.slot
    Device.objects.update(kind="nvidia")
    assert deployments.newest_slot() == cuda
    with pytest.raises(SlotRefused, match="engines here need cuda"):
        deployments.use_slot("m", row.slot)


def test_scaling_replaces_nothing(running: tuple[Deployment, DatabaseStore]) -> None:
    assert deployments.scale("m", 5) is not None
    assert running[1].desired()[0].replicas == 5
    assert not outdated(running)


def test_what_is_not_served_can_be_neither_scaled_nor_restarted(model: ModelVersion, slot: EngineSlot) -> None:
    assert deployments.scale("m", 2) is None
    assert deployments.restart("m", may_pause=False) is None
    assert deployments.use_slot("m", slot) is None
    assert not AuditEntry.objects.exists()


def test_a_misfit_is_refused_before_anything_starts(model: ModelVersion) -> None:
    with pytest.raises(CannotRun, match="adapters and expert parallelism exclude"):
        refuse_misfit(model, ("--enable-lora", "--enable-expert-parallel"), 1, "h20-96")
    refuse_misfit(model, ("--enable-lora",), 1, "h20-96")


def test_the_memory_of_the_cards_that_are_here_decides(model: ModelVersion) -> None:
    Device.objects.create(
        id="nvidia:0", kind="nvidia", name="made up", memory_bytes=24_000_000_000, seen_at="2026-01-01T00:00Z"
    )
    with pytest.raises(CannotRun, match=r"a card of 24\.0 GB leaves"):
        refuse_misfit(model, (), 1, "h20-96")


@pytest.mark.parametrize(
    "flag", ["--trust-remote-code", "--trust_remote_code=true", "--trust-rem", "--host=0.0.0.0", "--model"]
)
def test_a_deployment_can_not_take_over_what_the_pool_decides(model: ModelVersion, flag: str) -> None:
    with pytest.raises(BadFlags, match="a deployment can't set --"):
        refuse_misfit(model, (flag,), 1, "")


def test_it_is_told_in_which_slot_an_engine_runs_that_has_not_moved_yet(
    running: tuple[Deployment, DatabaseStore],
) -> None:
    row = running[0]
    newer = EngineSlot.objects.create(name="cpu-2", flavour="cpu", engine_version="2", path="/slots/cpu-2", digest="e")
    replica = Replica.objects.get()
    assert slots_in_use() == {replica.pk: row.slot}
    deployments.use_slot("m", newer)
    assert slots_in_use() == {replica.pk: row.slot}
    EngineLife.objects.update(way=running[1].desired()[0].way)
    assert slots_in_use() == {replica.pk: newer}
    deployments.restart("m", may_pause=False)
    assert slots_in_use() == {}, "nobody can say"
    EngineLife.objects.update(way="")
    assert slots_in_use() == {replica.pk: newer}
    Replica.objects.update(life=None)
    assert slots_in_use() == {}


def test_a_served_model_stays_in_its_slot_as_long_as_that_is_there(
    running: tuple[Deployment, DatabaseStore], tmp_path: Path
) -> None:
    for name in ("old", "new"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python").touch()
    EngineSlot.objects.update(path=str(tmp_path / "old"))
    newer = EngineSlot.objects.create(
        name="cpu-2", flavour="cpu", engine_version="2", path=str(tmp_path / "new"), digest="e"
    )
    assert deployments.slot_of_name("m") == running[0].slot
    assert deployments.slot_of_name("another") == newer
    (tmp_path / "old" / "bin" / "python").unlink()
    assert deployments.slot_of_name("m") == newer
    deployments.withdraw("m")
    (tmp_path / "old" / "bin" / "python").touch()
    assert deployments.slot_of_name("m") == newer
