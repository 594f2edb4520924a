"""`coderack model`: what it writes for the pool, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.utils import timezone
from typer.testing import CliRunner

from appliance.first_rows import register_model, register_slot
from appliance.fleet.models import Deployment, Device, DeviceOwner
from appliance.registry.models import ModelVersion
from inference.gateway.fim_tokens import FIM_BEGIN, FIM_END, FIM_HOLE
from ops.cli.main import app
from ops.models import manifest
from tests.fakes.nvml import Card, FakeNvml
from tests.inference.gateway.parts import write_tokenizer

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def model(db: None, tmp_path: Path) -> str:
    register_slot("cpu-1", "cpu", "1", Path("/s"), "d")
    (tmp_path / "config.json").write_text("{}")
    return register_model("demo", tmp_path, "d", "smollm2-135m-instruct", 512, False).name


def test_it_serves_with_the_presets_flags_and_those_given(model: str) -> None:
    done = CliRunner().invoke(app, ["model", "serve", model, "--profile", "cpu", "--flag=--seed=1", "--replicas", "2"])
    assert done.exit_code == 0, done.output
    row = Deployment.objects.get()
    assert "--enable-lora" in row.flags
    assert row.flags[-1] == "--seed=1"
    assert (row.replicas, row.running) == (2, True)


def test_it_tells_scripts_what_is_served_and_what_no_longer(model: str) -> None:
    told = CliRunner().invoke(app, ["model", "serve", model, "--replicas", "2", "--json"])
    facts = json.loads(told.stdout)
    assert (facts["name"], facts["replicas"], facts["slot"], facts["running"]) == (model, 2, "cpu-1", True)
    assert facts["stale"] is False
    told = CliRunner().invoke(app, ["model", "withdraw", model, "--json"])
    assert json.loads(told.stdout) == {"name": model, "running": False}


def test_it_names_the_profiles_there_are(model: str) -> None:
    done = CliRunner().invoke(app, ["model", "serve", model, "--profile", "abacus"])
    assert done.exit_code == 2
    assert "h20-96" in done.output
    assert not Deployment.objects.exists()


def see(name: str, gb: int, *numbers: int) -> None:
    for number in numbers:
        Device.objects.create(
            id=f"nvidia:{number}", kind="nvidia", name=name, memory_bytes=gb * 10**9, seen_at=timezone.now()
        )


def test_it_takes_the_profile_of_the_cards(model: str, tmp_path: Path) -> None:
    stored = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    register_model("big", tmp_path, "e", "deepseek-coder-v2-instruct", 32768, False)
    see("NVIDIA H20", 102, *range(8))
    told = CliRunner().invoke(app, ["model", "serve", "big", "--json"])
    facts = json.loads(told.stdout)
    assert facts["devices_each"] == 8
    assert "--enable-expert-parallel" in facts["flags"]
    told = CliRunner().invoke(app, ["model", "serve", "big", "--profile", "none", "--devices-each", "2", "--json"])
    assert (json.loads(told.stdout)["flags"], json.loads(told.stdout)["devices_each"]) == ([], 2)


def test_without_a_pool_it_looks_at_the_machine(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(Card("NVIDIA L40S", 46_068 << 20)).install(monkeypatch)
    told = CliRunner().invoke(app, ["model", "serve", model, "--json"])
    assert "--max-num-batched-tokens" in json.loads(told.stdout)["flags"]


@pytest.mark.parametrize("other", ["NVIDIA GeForce RTX 4090", "NVIDIA L40S"])
def test_it_refuses_cards_without_a_profile_and_mixed_ones(model: str, other: str) -> None:
    see("NVIDIA H20" if other == "NVIDIA L40S" else other, 102, 0)
    see(other, 48, 1)
    done = CliRunner().invoke(app, ["model", "serve", model])
    assert done.exit_code == 2
    assert other in done.output
    assert "--profile" in done.output
    assert not Deployment.objects.exists()


def test_it_lists_devices_with_their_owners(model: str) -> None:
    see("NVIDIA H20", 102, 10, 2)
    Device.objects.filter(id="nvidia:2").update(
        healthy=False, reason="XID 79: it has fallen off the bus", power_w=99.6,
        foreign=[{"pid": 4711, "name": "python", "memory_bytes": 2**30}],
    )  # fmt: skip
    DeviceOwner.objects.create(device_id="nvidia:10", job_id="job-1/2", expires_at=timezone.now())
    ill, lent = json.loads(CliRunner().invoke(app, ["devices", "--json"]).stdout)
    assert (ill["id"], ill["healthy"], ill["power_w"], ill["foreign"][0]["pid"]) == ("nvidia:2", False, 99.6, 4711)
    assert (lent["id"], lent["owner"]) == ("nvidia:10", "job-1")
    told = CliRunner().invoke(app, ["devices"]).output
    assert "python 4711" in told
    assert "fallen off the bus" in told


def test_it_withdraws_and_says_when_nothing_is_served(model: str) -> None:
    CliRunner().invoke(app, ["model", "serve", model])
    assert CliRunner().invoke(app, ["model", "withdraw", model]).exit_code == 0
    assert not Deployment.objects.get().running
    assert CliRunner().invoke(app, ["model", "withdraw", model]).exit_code == 5


def test_it_refuses_weights_without_a_manifest(db: None, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["model", "add", str(tmp_path), "--name", "x"])
    assert done.exit_code == 1
    assert "manifest" in done.output


@pytest.mark.parametrize(("marks", "code"), [((FIM_BEGIN, FIM_HOLE, FIM_END), 0), ((FIM_BEGIN, FIM_HOLE), 1), ((), 1)])
def test_it_registers_no_model_for_filling_in_that_lacks_a_token_for_it(
    db: None, tmp_path: Path, marks: tuple[str, ...], code: int
) -> None:
    write_tokenizer(tmp_path / "tokenizer.json", marks=marks)
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    manifest.write(tmp_path, name="x", origin="a test", licence="none")
    done = CliRunner().invoke(app, ["model", "add", str(tmp_path), "--name", "x", "--fim"])
    assert done.exit_code == code, done.output
    assert ModelVersion.objects.filter(name="x").exists() == (code == 0)
