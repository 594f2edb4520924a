"""What each rank holds: part by part, for the released shapes on boxes that people have, and beside real ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.train.launch import Trainer
from finetune.train.memory import Batch, memory_of
from finetune.train.methods import EXPERTS, FULL, LORA
from finetune.train.per_rank import plan_of, rank_memory, trained_experts
from finetune.train.shape import Shape, shape_of
from finetune.train.spec import MICRO_BATCH_TOKENS, TrainSpec
from inference.catalog.load import catalog
from tests.finetune.train.conftest import Events, write_rows
from tests.finetune.train.shapes import LARGE, LITE_TARGETS, SMALL, write_model
from tests.finetune.train.test_ranks import children

MIB = 2**20
# What such cards report (H100 SXM, H20), and the part of it that fine-tunes may have.
CARD = {80: round(0.92 * 81_559 * MIB), 96: round(0.92 * 97_871 * MIB)}
BATCH = Batch(MICRO_BATCH_TOKENS, 2048)
WITHIN = 1.6  # as for one device


@pytest.fixture
def large(tmp_path: Path) -> Shape:
    return shape_of(write_model(tmp_path / "large", LARGE))


def test_the_large_shape_is_the_catalogs(large: Shape) -> None:
    assert large.parameters == catalog()["deepseek-coder-v2-instruct"].architecture.total_parameters


@pytest.mark.parametrize("card", [80, 96])
def test_lora_of_the_large_shape_fits_eight_cards_and_not_four(large: Shape, card: int) -> None:
    targets = catalog()["deepseek-coder-v2-instruct"].lora.targets
    eight, four = (rank_memory(large, targets, 16, BATCH, "cuda", ranks) for ranks in (8, 4))
    assert eight.weights == 2 * large.parameters // 8
    # both matrices of 20 experts twice, the head and its copy
    assert eight.gathered == 2 * (2 * 20 * 3 * 5120 * 1536 + 2 * 102_400 * 5120)  # type: ignore[attr-defined]
    assert eight.optimizer == 8 * large.adapter_parameters(targets, 16)
    assert eight.total <= CARD[card]
    assert four.total > CARD[card]


def test_the_whole_lite_shape_is_trained_on_eight_cards_and_its_experts_on_two(lite: Shape) -> None:
    needs = {
        (method, ranks): rank_memory(lite, (), 16, BATCH, "cuda", ranks, method=method, expert_share=0.2).total
        for method in (FULL, EXPERTS)
        for ranks in (1, 2, 4, 8)
    }
    fits = {key for key, need in needs.items() if need <= CARD[80]}
    assert fits == {(FULL, 8), (EXPERTS, 2), (EXPERTS, 4), (EXPERTS, 8)}
    assert needs[FULL, 4] <= CARD[96]


def test_full_training_takes_sixteen_bytes_of_a_parameter_between_the_ranks(lite: Shape) -> None:
    need = rank_memory(lite, (), 16, BATCH, "cuda", 8, method=FULL)
    assert need.weights + need.gradients + need.optimizer == pytest.approx(16 * lite.parameters / 8, abs=16)
    assert need.adapter == 0


def test_experts_with_a_share_of_the_choices_are_at_most_that_share(lite: Shape) -> None:
    assert trained_experts(lite, 0.2) == 26 * 13 * 3 * 2048 * 1408
    assert trained_experts(lite, 1) == lite.parts["experts"]


def test_one_rank_with_an_adapter_is_as_it_was_before_there_were_ranks(lite: Shape) -> None:
    assert rank_memory(lite, LITE_TARGETS, 16, BATCH, "cuda", 1) == memory_of(lite, LITE_TARGETS, 16, BATCH, "cuda")


def test_an_embedding_that_is_the_head_too_is_on_every_rank(tmp_path: Path) -> None:
    shape = shape_of(write_model(tmp_path / "small", SMALL))
    need = rank_memory(shape, ("q_proj",), 16, BATCH, "cuda", 4)
    tied = 49_152 * 576
    assert need.weights == 2 * ((shape.parameters - tied) // 4 + tied)


def test_of_an_unknown_architecture_nothing_is_said(spec: TrainSpec) -> None:
    assert plan_of(replace(spec, ranks=2))["memory"] is None


def peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


@pytest.mark.engine
@pytest.mark.long
@pytest.mark.parametrize("method", [LORA, EXPERTS, FULL])
def test_two_real_ranks_take_about_as_much(
    method: str, train: Callable[..., Events], tiny_spec: TrainSpec, tmp_path: Path
) -> None:
    length = 1024
    words = " ".join(f"def f{number}(a, b): return a + b" for number in range(length))
    rows = write_rows(tmp_path / "long.jsonl", [{"text": words}] * 2)
    spec = replace(
        tiny_spec, train=(rows,), kind="text", epochs=1, batch_size=8, max_length=length, lora_rank=16,
        target_modules=LITE_TARGETS, checkpoint_every_steps=2, ranks=2, method=method,
    )  # fmt: skip
    peaks: list[int] = []

    def watch(trainer: Trainer, event: dict[str, Any]) -> None:
        if event["event"] == "checkpoint":
            peaks.extend(peak_bytes(pid) for pid in children(trainer.pid))
            trainer.kill()

    train(spec, watch)
    need = rank_memory(
        shape_of(spec.model_path), LITE_TARGETS, 16, Batch(4 * length, length), "cpu", 2,
        method=method, expert_share=spec.expert_share,
    )  # fmt: skip
    assert len(peaks) == 2
    for peak in peaks:
        assert peak / WITHIN <= need.total <= peak * WITHIN, (peaks, need)
