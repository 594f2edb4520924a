"""Preset files that must not be taken: every fault is named, and all of them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inference.catalog.errors import BadPreset
from inference.catalog.load import DIRECTORY, load

SMALL = "smollm2-135m-instruct"
LITE = "deepseek-coder-v2-lite-instruct"


def content(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DIRECTORY / f"{name}.yaml").read_text())
    return read


def refused(directory: Path, presets: dict[str, dict[str, Any]]) -> str:
    for name, preset in presets.items():
        (directory / f"{name}.yaml").write_text(yaml.safe_dump(preset))
    with pytest.raises(BadPreset) as caught:
        load(directory)
    return str(caught.value)


def test_all_faults_of_all_files_are_in_one_message(tmp_path: Path) -> None:
    small, lite = content(SMALL), content(LITE)
    small["architecture"]["layers"] = "30"
    small["colour"] = "blue"
    del small["licence"]["id"]
    small["context"]["trained"] = True
    lite["lora"]["targets"].append("kv_b_proj")
    (tmp_path / "broken.yaml").write_text("a: [")
    message = refused(tmp_path, {SMALL: small, LITE: lite})
    assert f"{SMALL}.architecture.layers: must be int, not '30'" in message
    assert f"{SMALL}.colour: unknown key" in message
    assert f"{SMALL}.licence.id: missing" in message
    assert f"{SMALL}.context.trained: must be int, not True" in message
    assert f"{LITE}.lora.targets: kv_b_proj is silently ignored by vLLM" in message
    assert "broken.yaml: not YAML" in message


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"hardware": ["h9000"]}, "hardware h9000: unknown"),
        ({"variant": "fast"}, "variant fast is unknown"),
        ({"precision": "int2"}, "precision int2 has no weight size"),
        ({"tensor_parallel": 2}, "1 devices an engine, but tensor parallel 2 x data parallel 1"),
        ({"max_model_len": 200_000}, "200000 tokens of context: the model was trained to"),
        ({"flags": ["--trust-remote-code"]}, "--trust-remote-code is not a preset's to set"),
        ({"flags": ["--model=/etc"]}, "--model=/etc is not a preset's to set"),
        ({"lora_rank": 12}, "adapters of rank 12: it has to be one of"),
        ({"expert_parallel": True}, "adapters and expert parallelism exclude each other"),
        ({"precision": "fp8-block", "tensor_parallel": 8, "devices": 8}, "block-wise fp8 can't split experts 8 ways"),
        ({"hardware": ["cpu"]}, "adapters on MoE layers end a CPU engine"),
    ],
)
def test_a_profile_that_would_fail_is_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    lite = content(LITE)
    lite["profiles"][0] |= change
    assert fault in refused(tmp_path, {LITE: lite})


def test_each_hardware_needs_exactly_one_answer(tmp_path: Path) -> None:
    small = content(SMALL)
    small["profiles"] = [*small["profiles"][:2], small["profiles"][0]]
    small["impossible"] = [{"hardware": ["h100"], "reason": "no"}]
    message = refused(tmp_path, {SMALL: small})
    assert "hardware 910b2: neither a profile nor a reason" in message
    assert "hardware h100: a profile and a reason against it" in message
    assert "hardware cpu:: twice" in message


def test_an_unknown_architecture_and_a_wrong_name_are_refused(tmp_path: Path) -> None:
    small = content(SMALL)
    other = content(SMALL) | {"name": "other"}
    small["architecture"]["kind"] = "mamba"
    message = refused(tmp_path, {SMALL: small, "third": other})
    assert f"{SMALL}.architecture.kind: must be one of deepseek_v2, llama" in message
    assert "third.name: 'other' is not the file's name" in message


def test_like_takes_one_step_only(tmp_path: Path) -> None:
    chain = {"second": {"like": SMALL, "name": "second"}, "third": {"like": "second", "name": "third"}}
    message = refused(tmp_path, {SMALL: content(SMALL), **chain})
    assert "third.like: 'second' is no preset of its own" in message
    assert "second." not in message
