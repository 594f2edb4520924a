"""The trainer's process: foreseen failures are events, running out of memory is told as such."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.train.main import is_out_of_memory
from finetune.train.parent import PARENT_GONE
from finetune.train.slot import environment
from finetune.train.spec import TrainSpec

pytestmark = pytest.mark.engine
TOO_MUCH = """
import json, torch
from finetune.train.main import is_out_of_memory
try:
    torch.empty(10**14)
except RuntimeError as error:
    print(json.dumps([is_out_of_memory(error), str(error)]))
"""


def trainer(slot_python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [slot_python, "-P", "-m", "finetune.train", *arguments], capture_output=True, text=True, check=False,
        env=environment(slot_python, folder, 1), cwd=folder, timeout=60,
    )  # fmt: skip


def test_a_bad_specification_is_told_at_once(slot_python: Path, tmp_path: Path) -> None:
    (spec := tmp_path / "spec.json").write_text("{}")
    done = trainer(slot_python, tmp_path, "--spec", str(spec))
    event = json.loads(done.stdout)
    assert (done.returncode, event["event"], event["code"]) == (1, "failed", "bad_spec")
    assert "seed: missing" in event["message"]


def test_it_ends_at_once_when_its_parent_is_gone(slot_python: Path, tmp_path: Path) -> None:
    done = trainer(slot_python, tmp_path, "--spec", "none", "--parent", "1")
    assert (done.returncode, done.stdout) == (PARENT_GONE, "")


def test_modules_that_do_not_fit_the_model_are_named(train: Callable[..., Any], tiny_spec: TrainSpec) -> None:
    (event,) = train(replace(tiny_spec, target_modules=("q_proj", "wq", "wk", "mlp")))
    assert (event["event"], event["code"]) == ("failed", "bad_model")
    assert "wq matches no module; wk matches no module; mlp matches modules that are not linear" in event["message"]


def test_a_row_that_can_not_be_used_is_named(train: Callable[..., Any], tiny_spec: TrainSpec) -> None:
    with tiny_spec.train[0].open("a") as file:
        file.write('{"messages": [{"role": "user", "content": "No answer?"}]}\n')
    (event,) = train(tiny_spec)
    assert (event["event"], event["code"]) == ("failed", "bad_row")
    assert "rows.jsonl line 5" in event["message"]


def test_a_loss_that_is_no_number_fails_the_run(
    train: Callable[..., Any], tiny_spec: TrainSpec, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_spec.model_path, broken)
    weights = broken / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-200_000:] = b"\xc0\x7f" * 100_000  # not a number, in bf16
    weights.write_bytes(content)
    events = train(replace(tiny_spec, model_path=broken))
    assert [event["event"] for event in events] == ["started", "failed"]
    assert events[-1]["code"] == "loss_not_finite"
    assert not (tiny_spec.out / "adapter").exists()


def test_what_torch_says_without_memory_is_understood(in_slot: Callable[..., Any]) -> None:
    understood, words = in_slot(TOO_MUCH)
    assert understood, words
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
