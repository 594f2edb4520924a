"""Merged models on a real PostgreSQL: asked for, built, served to one tenant, followed through its base's changes, taken away.

What builds is a stand-in that writes a real manifest; the real one is tested with a real engine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from appliance.fleet.merged import Case, Step, ask_for, deployment_of, next_step, standing
from appliance.fleet.merging import FOLDER, Merging
from appliance.fleet.models import Deployment, Device, Replica
from appliance.fleet.store import DatabaseStore
from appliance.registry.models import Adapter, AdapterState, EngineSlot, MergedModel, ModelVersion
from appliance.tenants.models import Plan, Tenant
from appliance.training import adapters
from finetune import manifest
from finetune.merge.errors import NoRoom
from inference.catalog import checkpoint
from tests.appliance.fleet.test_store import ready_replica, view
from tests.inference.pool.adapter_dirs import make_adapter, make_base

pytestmark = pytest.mark.usefixtures("db")
S = AdapterState
NAME = "ft:moe:acme:pay:1"
EXPERTS = {"n_routed_experts": 16, "first_k_dense_replace": 1, "num_hidden_layers": 4}


class Builder:
    """Writes what a merge would leave, or raises what it is told to."""

    def __init__(self) -> None:
        self.built: list[str] = []
        self.fault: Exception | None = None

    def __call__(
        self,
        _python: Path,
        _base: tuple[Path, str],
        _adapter: tuple[Path, str],
        out: Path,
        name: str,
        _log: Path,
        _on_start: Callable[[Callable[[], None]], None],
    ) -> str:
        if self.fault is not None:
            raise self.fault
        out.mkdir()
        (out / "model.safetensors").write_bytes(name.encode())
        self.built.append(name)
        return manifest.write(out, name=name, origin="test", licence="none").digest


@pytest.fixture
def base(tmp_path: Path) -> Deployment:
    model = make_base(tmp_path / "base")
    (model / "config.json").write_text(json.dumps(EXPERTS))
    slot = EngineSlot.objects.create(name="cpu-1", flavour="cpu", engine_version="1", path="/slots/cpu-1", digest="d")
    version = ModelVersion.objects.create(name="moe", path=str(model), digest="b" * 64, max_model_len=512)
    return Deployment.objects.create(model=version, slot=slot, max_model_len=256, flags=["--max-num-seqs", "8"])


@pytest.fixture
def adapter(base: Deployment, tmp_path: Path) -> Adapter:
    tenant = Tenant.objects.create(id="acme", name="Acme", plan=Plan.objects.create(name="p"))
    digest = make_adapter(tmp_path / "adapter", lora_alpha=8)
    return Adapter.objects.create(
        name=NAME, tenant=tenant, base=base.model, path=str(tmp_path / "adapter"), digest=digest, rank=4, state=S.ACTIVE
    )


@pytest.fixture
def builder() -> Builder:
    return Builder()


@pytest.fixture
def merging(tmp_path: Path, builder: Builder) -> Merging:
    (tmp_path / "data").mkdir()
    return Merging(tmp_path / "data", builder)


def settle(merging: Merging) -> None:
    """More looks than there are steps."""
    for _ in range(5):
        merging.look()


def own() -> Deployment:
    return Deployment.objects.get(name=NAME)


def test_an_active_adapter_is_built_and_served_once_under_its_name(
    merging: Merging, builder: Builder, adapter: Adapter, base: Deployment, tmp_path: Path
) -> None:
    settle(merging)
    assert builder.built == [NAME]
    row = own()
    assert (row.running, row.serves, row.replicas) == (True, False, 1)
    assert (row.slot_id, row.max_model_len, row.flags) == (base.slot_id, 256, ["--max-num-seqs", "8"])
    place = Path(MergedModel.objects.get().version.path)
    assert place.parent == tmp_path / "data" / FOLDER
    assert manifest.verify(place) == []
    (wanted,) = [one for one in DatabaseStore(tmp_path).desired() if one.id == str(row.pk)]
    assert wanted.counted_as == "moe", "charts know no names of tenants"
    assert (wanted.model, wanted.model_path, wanted.model_digest) == (NAME, place, manifest.read(place).digest)


def test_the_bases_engines_are_not_asked_to_load_it(adapter: Adapter, tmp_path: Path) -> None:
    assert DatabaseStore(tmp_path).desired_adapters() == []
    EngineSlot.objects.update(flavour="cuda")
    assert [one.name for one in DatabaseStore(tmp_path).desired_adapters()] == [NAME]


def test_an_engine_that_can_apply_adapters_gets_no_merged_model(
    merging: Merging, builder: Builder, adapter: Adapter
) -> None:
    EngineSlot.objects.update(flavour="cuda")
    settle(merging)
    assert builder.built == []
    assert standing(adapter) is None


def test_the_gateway_finds_its_engine_by_the_adapters_name_and_only_its_tenant_knows_it(
    merging: Merging, adapter: Adapter, base: Deployment, tmp_path: Path
) -> None:
    settle(merging)
    assert [row[2] for row in view("gateway_replicas")] == []
    replica, began = ready_replica(DatabaseStore(tmp_path), own())
    assert [row[:5] for row in view("gateway_replicas")] == [(replica, began.id, NAME, "/run/x.sock", 8)]
    models = {row[0]: row for row in view("gateway_models")}
    assert set(models) == {"moe", NAME}
    assert models[NAME][6:] == ("acme", "moe")
    assert models[NAME][4] == base.model.path, "its tokenizer is the base's"
    assert str(standing(adapter)) == "served by a merged model"


def test_nobody_can_list_or_name_the_copy_as_a_model(merging: Merging, adapter: Adapter) -> None:
    settle(merging)
    assert list(ModelVersion.objects.values_list("name", flat=True)) == ["moe"]
    assert ModelVersion._base_manager.count() == 2


def test_a_candidate_waits_until_its_proof_asks(merging: Merging, builder: Builder, adapter: Adapter) -> None:
    Adapter.objects.update(state=S.CANDIDATE)
    settle(merging)
    assert builder.built == []
    ask_for(adapter)
    ask_for(adapter)
    settle(merging)
    assert builder.built == [NAME]
    assert own().running


def test_what_waits_for_approval_has_no_engine_and_keeps_its_copy(
    merging: Merging, builder: Builder, adapter: Adapter
) -> None:
    settle(merging)
    Adapter.objects.update(state=S.WAITING)
    settle(merging)
    assert not own().running
    Adapter.objects.update(state=S.ACTIVE)
    settle(merging)
    assert own().running
    assert builder.built == [NAME], "it was built once"


def test_withdrawing_stops_the_engine_and_then_deletes_the_copy(
    merging: Merging, adapter: Adapter, tmp_path: Path
) -> None:
    settle(merging)
    replica, _ = ready_replica(DatabaseStore(tmp_path), own())
    place = Path(MergedModel.objects.get().version.path)
    adapters.withdraw(adapter)
    assert NAME not in {row[2] for row in view("gateway_replicas")}, "no request from now on"
    settle(merging)
    assert not own().running
    assert place.is_dir(), "its engine still reads there"
    Replica.objects.filter(pk=replica).delete()
    settle(merging)
    assert not place.exists()
    assert not Deployment.objects.filter(name=NAME).exists()
    assert MergedModel.objects.count() == 0
    assert ModelVersion._base_manager.count() == 1


def test_it_follows_its_bases_deployment(merging: Merging, adapter: Adapter, base: Deployment) -> None:
    settle(merging)
    newer = EngineSlot.objects.create(name="cpu-2", flavour="cpu", engine_version="2", path="/slots/cpu-2", digest="e")
    Deployment.objects.filter(pk=base.pk).update(slot=newer, max_model_len=128)
    settle(merging)
    assert (own().slot_id, own().max_model_len) == (newer.pk, 128)
    Deployment.objects.filter(pk=base.pk).update(running=False)
    settle(merging)
    assert not own().running


def test_a_disk_without_room_is_told_and_tried_again(merging: Merging, builder: Builder, adapter: Adapter) -> None:
    builder.fault = NoRoom("a merged copy has 31.40 GB and the disk 3.00 GB left")
    settle(merging)
    assert builder.built == []
    told = str(standing(adapter))
    assert told.startswith("not served: a merged copy has 31.40 GB and the disk 3.00 GB left (tried again at ")
    builder.fault = None
    MergedModel.objects.update(retry_at=None)
    settle(merging)
    assert builder.built == [NAME]


def test_a_full_disk_is_told_and_keeps_nobody_else_waiting(
    merging: Merging, builder: Builder, adapter: Adapter, tmp_path: Path
) -> None:
    settle(merging)
    left = tmp_path / "data" / FOLDER / ".merge-x"
    left.mkdir()
    second = Adapter.objects.create(
        name="ft:moe:acme:pay:2", tenant=adapter.tenant, base=adapter.base, path=adapter.path, digest=adapter.digest,
        rank=4, state=S.ACTIVE,
    )  # fmt: skip
    digest = make_adapter(tmp_path / "second", lora_alpha=16)
    Adapter.objects.filter(pk=second.pk).update(path=str(tmp_path / "second"), digest=digest)
    builder.fault = OSError(28, "No space left on device")
    Adapter.objects.filter(pk=adapter.pk).update(state=S.WITHDRAWN)
    settle(merging)
    second.refresh_from_db()
    assert "No space left on device (tried again at " in str(standing(second))
    assert not Deployment.objects.filter(name=NAME).exists(), "the other one's step is done all the same"
    assert not left.exists(), "and what may go makes room"


def test_one_adapters_fault_keeps_no_other_one_waiting(
    merging: Merging, builder: Builder, adapter: Adapter, tmp_path: Path
) -> None:
    digest = make_adapter(tmp_path / "second", lora_alpha=16)
    Adapter.objects.create(
        name="ft:moe:acme:pay:2", tenant=adapter.tenant, base=adapter.base, path=str(tmp_path / "second"),
        digest=digest, rank=4, state=S.ACTIVE,
    )  # fmt: skip
    settle(merging)
    settle(merging)
    assert sorted(builder.built) == [NAME, "ft:moe:acme:pay:2"]
    Deployment.objects.filter(name=NAME).update(running=False)
    place = Path(MergedModel.objects.get(adapter=adapter).version.path)
    (place / manifest.FILE_NAME).unlink()
    builder.fault = RuntimeError("a fault of ours")
    Adapter.objects.exclude(pk=adapter.pk).update(state=S.WITHDRAWN)
    settle(merging)
    assert not Deployment.objects.filter(name="ft:moe:acme:pay:2").exists()


def test_an_adapter_that_was_changed_on_the_disk_is_not_merged(
    merging: Merging, builder: Builder, adapter: Adapter
) -> None:
    (Path(adapter.path) / "adapter_model.safetensors").write_bytes(b"other")
    settle(merging)
    assert builder.built == []
    assert "was changed" in str(standing(adapter))


def test_a_copy_that_was_changed_is_built_again_before_an_engine_gets_it(
    merging: Merging, builder: Builder, adapter: Adapter
) -> None:
    settle(merging)
    Deployment.objects.filter(name=NAME).update(running=False)
    place = Path(MergedModel.objects.get().version.path)
    (place / "model.safetensors").write_bytes(b"tampered with")
    settle(merging)
    assert builder.built == [NAME, NAME]
    assert manifest.verify(place) == []
    assert own().running


def test_what_an_ended_merge_left_is_swept_away(merging: Merging, adapter: Adapter, tmp_path: Path) -> None:
    settle(merging)
    folder = tmp_path / "data" / FOLDER
    kept = Path(MergedModel.objects.get().version.path)
    for name in (f".{kept.name}.new", ".merge-x", "0" * 32):
        (folder / name).mkdir()
    settle(merging)
    assert {path.name for path in folder.iterdir()} == {kept.name}


def test_what_does_not_fit_stays_visible_with_the_arithmetic(merging: Merging, adapter: Adapter) -> None:
    settle(merging)
    row = deployment_of(MergedModel.objects.get())
    assert row is not None
    assert str(standing(adapter)) == "not served: its engine waits for a device"


CASES = [
    Case(state, *flags) for state in S for flags in product((True, False), (None, True, False), *[(True, False)] * 6)
]


def applied(case: Case, step: Step) -> Case:
    """What is known after a step."""
    changes: dict[Step, dict[str, Any]] = {
        Step.ASK: {"is_asked": True},
        Step.BUILD: {"is_built": True},
        Step.SERVE: {"is_running": True, "is_as_wanted": True},
        Step.STOP: {"is_running": False},
        Step.REMOVE: {"is_asked": False, "is_built": False},
    }
    return replace(case, **changes[step])


def test_every_case_comes_to_rest_and_no_engine_serves_what_it_should_not() -> None:
    for start in CASES:
        case, steps = start, 0
        while (step := next_step(case)) is not Step.NOTHING:
            case, steps = applied(case, step), steps + 1
            assert steps < 6, start
        if case.is_asked and case.is_running:
            assert case.merges, start
            assert case.tenant_is_active, start
            assert case.state in (S.CANDIDATE, S.ACTIVE), start


def test_a_copy_that_would_not_fit_the_machine_is_not_built(
    merging: Merging, builder: Builder, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    Device.objects.create(id="cpu:0", kind="cpu", name="CPU", memory_bytes=4 << 30, seen_at="2026-01-01T00:00Z")
    monkeypatch.setattr(checkpoint, "weight_bytes", lambda path: 10**10)
    settle(merging)
    assert builder.built == []
    assert "it does not fit: 10.0 GB of weights" in str(standing(adapter))
