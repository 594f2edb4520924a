"""Several ranks on the CPU: the same training as on one, with a part of the base each; they end together."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune import manifest
from finetune.train.checkpoints import directory
from finetune.train.launch import STOPPED, Trainer
from finetune.train.shape import shape_of
from finetune.train.spec import TrainSpec
from tests.finetune.train.conftest import Events
from tests.finetune.train.shapes import LITE_TARGETS

pytestmark = pytest.mark.engine
# Of a loss, between one rank and two: bf16 sums in another order, over eight steps.
WITHIN = 0.02


def losses(events: Events) -> list[float]:
    return [event["loss"] for event in events if event["event"] == "step"]


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def two(tiny_spec: TrainSpec) -> TrainSpec:
    return replace(tiny_spec, ranks=2, target_modules=LITE_TARGETS)


def test_two_ranks_learn_what_one_learns_and_resume_to_the_same_bytes(
    train: Callable[..., Events], two: TrainSpec, tmp_path: Path
) -> None:
    one = train(replace(two, ranks=1, out=tmp_path / "one"))
    both = train(two)
    assert both[-1]["event"] == "finished", both[-1]
    assert losses(both) == pytest.approx(losses(one), rel=WITHIN)
    assert losses(both)[-1] < losses(both)[0]
    assert both[-1]["trained_tokens"] == one[-1]["trained_tokens"]
    whole = shape_of(two.model_path).parameters * 2
    assert sum(both[0]["base_bytes"]) == whole
    assert max(both[0]["base_bytes"]) < 0.51 * whole

    resumed = train(replace(two, out=tmp_path / "resumed", resume_from=directory(two.out, 6)))
    assert (resumed[0]["resumed_step"], losses(resumed)) == (6, losses(both)[6:])
    for file in manifest.read(two.out / "adapter").files:
        assert (tmp_path / "resumed" / "adapter" / file.path).read_bytes() == (two.out / "adapter" / file.path).read_bytes()
