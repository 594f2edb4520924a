"""`coderack model`: what it writes for the pool, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.first_rows import register_model, register_slot
from appliance.fleet.models import Deployment, Device, DeviceOwner, Replica
from appliance.fleet.store import desired_of
from appliance.registry.models import ModelVersion
from inference.gateway.fim_tokens import FIM_BEGIN, FIM_END, FIM_HOLE
from ops.cli.main import app
from ops.models import manifest
from tests.fakes.nvml import Card, FakeNvml
from tests.inference.gateway.parts import write_tokenizer

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


@pytest.fixture
def model(db: None, checkpoint: Path) -> str:
    register_slot("cpu-1", "cpu", "1", Path("/s"), "d")
    return register_model("demo", checkpoint, "d", "smollm2-135m-instruct", 512, False).name


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


def test_it_registers_nothing_under_a_preset_that_there_is_not(checkpoint: Path) -> None:
    done = CliRunner().invoke(app, ["model", "add", str(checkpoint), "--name", "demo", "--preset", "nonsense"])
    assert (done.exit_code, ModelVersion.objects.exists()) == (2, False)
    assert "no preset 'nonsense'" in done.output
    assert "smollm2-135m-instruct" in done.output


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


def test_it_takes_the_profile_of_the_cards(model: str, checkpoint: Path) -> None:
    stored = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
    (checkpoint / "config.json").write_text(json.dumps(stored))
    register_model("big", checkpoint, "e", "deepseek-coder-v2-instruct", 32768, False)
    see("NVIDIA H20", 102, *range(8))
    told = CliRunner().invoke(app, ["model", "serve", "big", "--json"])
    facts = json.loads(told.stdout)
    assert facts["devices_each"] == 8
    assert "--enable-expert-parallel" in facts["flags"]
    done = serve("big", "--devices-each", "2")
    assert done.exit_code == 2
    assert "118.5 GB of weights a card" in done.output, "237 GB don't fit two cards of 102, whoever picked the flags"
    assert Deployment.objects.get().devices_each == 8


def weigh(checkpoint: Path, gb: int, **config: object) -> None:
    """Weights of that size, which take no room on the disk."""
    with (checkpoint / "model.safetensors").open("wb") as file:
        file.truncate(gb * 10**9)
    (checkpoint / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("card", ["NVIDIA H20", "NVIDIA GeForce RTX 4090"])
def test_a_model_outside_the_catalog_is_weighed_on_the_disk(db: None, checkpoint: Path, card: str) -> None:
    register_slot("cuda-1", "cuda", "1", Path("/s"), "d")
    weigh(checkpoint, 150, num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=8, hidden_size=8192)
    register_model("foreign", checkpoint, "e", "", 32768, False)
    see(card, 102, 0, 1)
    for options in ((), ("--profile", "none")):
        done = CliRunner().invoke(app, ["model", "serve", "foreign", *options])
        assert done.exit_code == 2
        assert "150.0 GB of weights a card + 10.7 GB of cache for 1 with 32768 tokens" in done.output
    assert not Deployment.objects.exists()
    assert serve("foreign", "--devices-each", "2").exit_code == 0
    assert serve("foreign", "--devices-each", "2", "--sequences", "9").exit_code == 2


def test_a_checkpoint_of_an_unknown_precision_is_weighed_too(model: str, checkpoint: Path) -> None:
    weigh(checkpoint, 130, quantization_config={"quant_method": "awq"})
    register_model("big", checkpoint, "e", "deepseek-coder-v2-instruct", 8192, False)
    see("NVIDIA H20", 102, *range(8))
    assert "130.0 GB of weights a card" in serve("big").output
    assert not Deployment.objects.exists()
    assert serve("big", "--devices-each", "2").exit_code == 0


@pytest.mark.parametrize("preset", ["", "smollm2-135m-instruct"])
def test_a_machine_without_cards_is_not_given_more_than_it_holds(model: str, checkpoint: Path, preset: str) -> None:
    for number in range(4):
        Device.objects.create(
            id=f"cpu:{number}", kind="cpu", name="A CPU", memory_bytes=2 << 30, seen_at=timezone.now()
        )
    assert serve(model).exit_code == 0, "0.3 GB of weights, whatever the size of a share"
    weigh(checkpoint, 30, quantization_config={"quant_method": "awq"})
    register_model("large", checkpoint, "e", preset, 512, False)
    done = serve("large")
    assert done.exit_code == 2
    assert "30.0 GB of weights + 1.1 GB of cache" in done.output
    assert "the machine has 8.6 GB" in done.output


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


def serve(model: str, *options: str) -> Any:
    return CliRunner().invoke(app, ["model", "serve", model, "--profile", "none", *options])


def take(model: str, *devices: str) -> None:
    row = Replica.objects.create(
        deployment=Deployment.objects.get(model__name=model), index=0, devices=list(devices), state="stopped"
    )
    DeviceOwner.objects.bulk_create(DeviceOwner(device_id=device, replica=row) for device in devices)


def test_it_pins_a_model_to_devices_and_keeps_the_strategy(model: str) -> None:
    see("NVIDIA H20", 102, 0, 1)
    facts = json.loads(serve(model, "--device", "nvidia:1", "--placement", "spread", "--json").stdout)
    assert (facts["placement"], facts["pinned"], facts["short"]) == ("spread", ["nvidia:1"], [])
    wish = desired_of(Deployment.objects.get())
    assert (wish.placement, wish.pinned) == ("spread", ("nvidia:1",))
    entry = AuditEntry.objects.filter(action="model.serve").latest("seq")
    assert (entry.details["placement"], entry.details["pinned"]) == ("spread", ["nvidia:1"])
    facts = json.loads(serve(model, "--json").stdout)
    assert (facts["placement"], facts["pinned"]) == ("pack", []), "each `serve` says everything anew"


def test_it_refuses_what_is_no_device_and_too_few_of_them(model: str) -> None:
    assert serve(model, "--device", "nvidia").exit_code == 2
    assert serve(model, "--placement", "tidy").exit_code == 2
    done = serve(model, "--device", "nvidia:0", "--device", "nvidia:0", "--replicas", "2")
    assert done.exit_code == 2
    assert "need 2, and it is pinned to 1: nvidia:0" in done.output
    assert not Deployment.objects.exists()
    assert serve(model, "--device", "nvidia:0").exit_code == 0
    assert CliRunner().invoke(app, ["model", "scale", model, "2"]).exit_code == 2
    assert Deployment.objects.get().replicas == 1


def test_it_tells_at_once_which_replicas_lack_devices_and_who_has_them(model: str, checkpoint: Path) -> None:
    see("NVIDIA H20", 102, 0, 1)
    serve(model)
    take(model, "nvidia:0")
    register_model("chat", checkpoint, "e", "", 512, False)
    facts = json.loads(serve("chat", "--replicas", "3", "--json").stdout)
    reason = (
        "not enough devices: it needs 1; 2 here, 2 taken, 0 not healthy, 0 free; demo has nvidia:0; chat has nvidia:1"
    )
    assert facts["short"] == [{"replica": 1, "reason": reason}, {"replica": 2, "reason": reason}]
    assert f"short: replicas 1, 2 wait: {reason}" in serve("chat", "--replicas", "3").output
    assert "short: replica 0 waits" in serve("chat", "--device", "nvidia:0").output
    told = CliRunner().invoke(app, ["model", "scale", "chat", "1", "--json"])
    assert "nvidia:0 is taken by demo" in json.loads(told.stdout)["short"][0]["reason"]


def test_it_sees_links_and_strangers_as_the_pool_does(model: str) -> None:
    see("NVIDIA H20", 102, 0)
    Device.objects.update(foreign=[{"pid": 4711, "name": "python", "memory_bytes": 60 * 10**9}])
    assert "python 4711" in json.loads(serve(model, "--json").stdout)["short"][0]["reason"]
    Device.objects.all().delete()
    assert json.loads(serve(model, "--json").stdout)["short"] == [], "nobody knows the devices yet"


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
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    manifest.write(tmp_path, name="x", origin="a test", licence="none")
    done = CliRunner().invoke(app, ["model", "add", str(tmp_path), "--name", "x", "--fim"])
    assert done.exit_code == code, done.output
    assert ModelVersion.objects.filter(name="x").exists() == (code == 0)


def test_it_serves_in_the_slot_that_is_named_and_refuses_those_it_can_not(model: str, tmp_path: Path) -> None:
    def serve(slot: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["model", "serve", model, "--slot", slot])
        return done.exit_code, done.output

    (tmp_path / "s2" / "bin").mkdir(parents=True)
    (tmp_path / "s2" / "bin" / "python").touch()
    register_slot("cpu-2", "cpu", "2", tmp_path / "s2", "e")
    register_slot("cuda-1", "cuda", "1", tmp_path / "s2", "f")
    Device.objects.create(id="cpu:0", kind="cpu", name="CPU", memory_bytes=2**40, seen_at=timezone.now())
    assert serve("cpu-2")[0] == 0
    assert Deployment.objects.get().slot.name == "cpu-2"
    code, said = serve("cpu-9")
    assert (code, "no engine slot 'cpu-9'" in said, "coderack engine list" in said) == (5, True, True)
    code, said = serve("cpu-1")
    assert (code, "/s is gone" in said, "coderack engine install cpu" in said) == (1, True, True)
    code, said = serve("cuda-1")
    assert (code, "engines here need cpu" in said) == (2, True)
    assert Deployment.objects.get().slot.name == "cpu-2"
    register_slot("cpu-3", "cpu", "3", tmp_path / "s2", "g")
    again = CliRunner().invoke(app, ["model", "serve", model])
    assert again.exit_code == 0, again.output
    assert Deployment.objects.get().slot.name == "cpu-2", "the newest is not its own"


@pytest.mark.parametrize(
    ("options", "context"),
    [
        ((), 4096),
        (("--preset", "deepseek-coder-v2-instruct"), 32768),
        (("--preset", "smollm2-135m-instruct"), 8192),
        (("--preset", "deepseek-coder-v2-instruct", "--max-model-len", "16384"), 16384),
    ],
)
def test_a_model_is_registered_with_its_presets_context(
    db: None, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], context: int
) -> None:
    monkeypatch.setattr("ops.models.checkpoint.gaps", lambda path: [])
    manifest.write(checkpoint, name="m", origin="o", licence="l")
    done = CliRunner().invoke(app, ["model", "add", str(checkpoint), "--name", "m", *options])
    assert done.exit_code == 0, done.output
    assert ModelVersion.objects.get().max_model_len == context


@pytest.mark.parametrize(
    ("registered", "options", "served"),
    [
        (32768, ("--profile", "a100"), 8192),
        (4096, ("--profile", "a100"), 4096),
        (32768, ("--profile", "h200:128k"), 131072),
        (16384, ("--profile", "h200:128k"), 16384),
        (32768, ("--profile", "a100", "--flag=--max-model-len=2048"), 2048),
    ],
)
def test_a_profiles_own_context_reaches_the_engine_and_the_gateway(
    model: str, checkpoint: Path, registered: int, options: tuple[str, ...], served: int
) -> None:
    if "h200:128k" in options:
        stored = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
        (checkpoint / "config.json").write_text(json.dumps(stored))
    register_model("big", checkpoint, "e", "deepseek-coder-v2-instruct", registered, False)
    done = serve("big", *options)
    assert done.exit_code == 0, done.output
    row = Deployment.objects.get()
    assert (row.max_model_len, desired_of(row).max_model_len, row.profile) == (served, served, options[1])


def test_a_longer_context_among_the_flags_is_weighed(model: str, checkpoint: Path) -> None:
    register_model("big", checkpoint, "e", "deepseek-coder-v2-instruct", 32768, False)
    done = serve("big", "--profile", "a100", "--flag=--max-model-len=131072", "--sequences", "32")
    assert done.exit_code == 2
    assert "with 131072 tokens" in done.output
    assert not Deployment.objects.exists()
