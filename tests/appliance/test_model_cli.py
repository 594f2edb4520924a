"""`coderack model`: what it writes for the pool, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from appliance.first_rows import register_model, register_slot
from appliance.fleet.models import Deployment
from appliance.registry.models import ModelVersion
from inference.gateway.fim_tokens import FIM_BEGIN, FIM_END, FIM_HOLE
from ops.cli.main import app
from ops.models import manifest
from tests.inference.gateway.parts import write_tokenizer

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def model(db: None) -> str:
    register_slot("cpu-1", "cpu", "1", Path("/s"), "d")
    return register_model("demo", Path("/m"), "d", "smollm2-135m-instruct", 512, False).name


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
