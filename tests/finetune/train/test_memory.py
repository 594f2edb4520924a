"""What a run holds in memory: part by part from the formula, and beside what a real trainer takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.train.launch import Trainer
from finetune.train.memory import RUNTIME_BYTES, Batch, activation_bytes, batch_at_once, memory_of
from finetune.train.shape import Shape, shape_of
from finetune.train.spec import MICRO_BATCH_TOKENS, TrainSpec
from tests.finetune.train.conftest import Events, write_rows
from tests.finetune.train.shapes import ALL_LINEAR, LITE_TARGETS, SMALL, write_model

# How far the estimate may be from a run's peak on the CPU; measured: 0.78 to 1.17 of it.
WITHIN = 1.6


@pytest.fixture
def small(tmp_path: Path) -> Shape:
    return shape_of(write_model(tmp_path / "small", SMALL))


def test_weights_and_trained_weights_take_their_bytes(lite: Shape) -> None:
    trained = lite.adapter_parameters(LITE_TARGETS, 16)
    need = memory_of(lite, LITE_TARGETS, 16, Batch(1, 1), "cuda")
    assert need.weights == 2 * lite.parameters
    assert (need.adapter, need.gradients, need.optimizer) == (6 * trained, 4 * trained, 8 * trained)
    assert need.runtime == RUNTIME_BYTES["cuda"]
    assert need.total == need.fixed + need.activations


def test_the_data_lies_in_the_machines_memory(small: Shape) -> None:
    cpu, card = (memory_of(small, ALL_LINEAR, 16, Batch(1, 1), kind, all_tokens=1000) for kind in ("cpu", "cuda"))
    assert cpu.runtime == RUNTIME_BYTES["cpu"] + 4000
    assert card.runtime == RUNTIME_BYTES["cuda"]


def test_activations_grow_with_the_tokens(small: Shape) -> None:
    one, two = (activation_bytes(small, ALL_LINEAR, 16, Batch(tokens, 512), "cpu") for tokens in (1024, 2048))
    assert two == pytest.approx(2 * one, abs=2)


def test_scores_count_where_no_fused_kernel_applies(lite: Shape, small: Shape) -> None:
    def grows(shape: Shape, kind: str) -> bool:
        short, long = (activation_bytes(shape, (), 16, Batch(4096, row), kind) for row in (512, 4096))
        return long > short

    assert grows(lite, "cpu")
    assert not grows(lite, "cuda")
    assert not grows(small, "cpu")


def test_checkpointing_keeps_one_layer_and_the_others_inputs(small: Shape) -> None:
    batch = Batch(4096, 2048)
    kept = activation_bytes(small, ALL_LINEAR, 16, batch, "cuda", checkpointing=True)
    assert kept < 0.75 * activation_bytes(small, ALL_LINEAR, 16, batch, "cuda")
    assert kept > 30 * 4096 * 576 * 2


@pytest.mark.parametrize(
    ("batch_size", "longest", "pack", "tokens"),
    [
        (4, 100, 100, 400), (32, 2048, 2048, MICRO_BATCH_TOKENS), (1, 8000, 8000, 8000),
        (256, 100, 100, MICRO_BATCH_TOKENS), (1, 300, 2048, 2048), (2, 300, 700, 1400),
    ],
)  # fmt: skip
def test_a_batch_is_in_memory_up_to_a_bound_and_one_row_at_least(
    batch_size: int, longest: int, pack: int, tokens: int
) -> None:
    assert batch_at_once(batch_size, longest, pack, MICRO_BATCH_TOKENS) == Batch(tokens, longest)


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


@pytest.mark.engine
@pytest.mark.parametrize("length", [64, 1024])
def test_a_real_trainer_takes_about_as_much(
    length: int, train: Callable[..., Events], tiny_spec: TrainSpec, tmp_path: Path
) -> None:
    words = " ".join(f"def f{number}(a, b): return a + b" for number in range(length))
    rows = write_rows(tmp_path / "long.jsonl", [{"text": words}])
    spec = replace(
        tiny_spec, train=(rows,), kind="text", epochs=1, batch_size=2, max_length=length, lora_rank=16,
        target_modules=LITE_TARGETS, checkpoint_every_steps=2,
    )  # fmt: skip
    peaks: list[int] = []

    def watch(trainer: Trainer, event: dict[str, Any]) -> None:
        if event["event"] == "checkpoint":  # two whole steps lie behind it
            peaks.append(_peak_bytes(trainer.pid))
            trainer.kill()

    train(spec, watch)
    need = memory_of(shape_of(spec.model_path), LITE_TARGETS, 16, Batch(2 * length, length), "cpu")
    assert peaks[0] / WITHIN <= need.total <= peaks[0] * WITHIN, (peaks[0], need)
