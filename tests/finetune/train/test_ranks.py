"""Several ranks on the CPU: the same training as on one, with a part of the base each; they end together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from finetune import manifest
from finetune.train.checkpoints import directory, newest_whole
from finetune.train.launch import STOPPED, Trainer
from finetune.train.ranks import Rank, cause_of
from finetune.train.shape import shape_of
from finetune.train.slot import environment
from finetune.train.spec import TrainSpec
from tests.finetune.train.conftest import Events, asked_to_stop, write_rows
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


@pytest.mark.long
def test_two_ranks_learn_what_one_learns_and_resume_to_the_same_bytes(
    train: Callable[..., Events], two: TrainSpec, tmp_path: Path
) -> None:
    one = train(replace(two, ranks=1, out=tmp_path / "one"))
    both = train(two)
    assert both[-1]["event"] == "finished", both[-1]
    assert losses(both) == pytest.approx(losses(one), rel=WITHIN)
    assert losses(both)[-1] < losses(both)[0]
    assert both[-1]["trained_tokens"] == one[-1]["trained_tokens"]

    resumed = train(replace(two, out=tmp_path / "resumed", resume_from=directory(two.out, 6)))
    assert (resumed[1]["resumed_step"], losses(resumed)) == (6, losses(both)[6:])
    for file in manifest.read(two.out / "adapter").files:
        assert (tmp_path / "resumed" / "adapter" / file.path).read_bytes() == (
            two.out / "adapter" / file.path
        ).read_bytes()


def test_each_rank_holds_half_of_the_base_and_one_that_dies_ends_them_all(
    train: Callable[..., Events], two: TrainSpec
) -> None:
    ranks: list[int] = []

    def kill_the_second(trainer: Trainer, event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 4:
            ranks.extend(children(trainer.pid))
            os.kill(ranks[1], signal.SIGKILL)

    events = train(replace(two, epochs=1000), kill_the_second)
    assert (events[-1]["event"], events[-1]["code"]) == ("failed", "trainer_died")
    assert "rank 1 of 2 was killed by SIGKILL" in events[-1]["message"]
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks)
    assert newest_whole(two.out) is not None
    assert losses(events)[3] < losses(events)[0]
    plan, started = events[:2]
    assert (plan["event"], plan["ranks"], started["event"]) == ("plan", 2, "started")
    assert "each of 2 ranks holds at most" in plan["message"]
    whole = shape_of(two.model_path).parameters * 2
    assert sum(started["base_bytes"]) == whole
    assert max(started["base_bytes"]) < 0.51 * whole
    assert plan["memory"]["weights"] == whole // 2


@pytest.mark.long
def test_asked_to_stop_all_ranks_stop_at_one_step_and_hold_no_more(
    train: Callable[..., Events], two: TrainSpec
) -> None:
    codes: list[int | None] = []
    events = train(replace(two, epochs=1000, checkpoint_every_steps=10_000), asked_to_stop(codes))
    checkpoint, stopped = events[-2:]
    assert (checkpoint["event"], stopped["event"], codes) == ("checkpoint", "stopped", [STOPPED])
    assert checkpoint["step"] == stopped["step"] >= 2
    (event,) = train(replace(two, ranks=1, out=two.out.parent / "other", resume_from=Path(checkpoint["path"])))
    assert (event["event"], event["code"]) == ("failed", "bad_checkpoint")


@pytest.mark.long
def test_documents_of_a_dense_model_with_one_embedding_are_validated_on_both_ranks_alike(
    train: Callable[..., Events], two: TrainSpec, demo_model: Path, tmp_path: Path
) -> None:
    texts = [
        "def relay(port):\n    return port + 1\n" * 9,
        *(f"x = {number}\ny = x + {number}\n" for number in range(9)),
    ]
    rows = write_rows(tmp_path / "text.jsonl", [{"text": text, "path": f"{n}.py"} for n, text in enumerate(texts)])
    spec = replace(
        two, model_path=demo_model, target_modules=("q_proj", "o_proj"), kind="text", train=(rows,), validation=(rows,),
        epochs=1, max_length=64,
    )  # fmt: skip
    one, both = train(replace(spec, ranks=1, out=tmp_path / "one")), train(spec)
    assert losses(both) == pytest.approx(losses(one), rel=WITHIN)
    assert both[-1]["validation_loss"] == pytest.approx(one[-1]["validation_loss"], rel=WITHIN)
    assert max(both[1]["base_bytes"]) < 0.62 * shape_of(demo_model).parameters * 2  # the embedding on both


@pytest.mark.long
def test_a_fault_that_every_rank_meets_is_told_once(train: Callable[..., Events], two: TrainSpec) -> None:
    _plan, event = train(replace(two, target_modules=("q_proj", "wq")))
    assert (event["event"], event["code"]) == ("failed", "bad_model")
    assert "wq matches no module" in event["message"]


@pytest.mark.long
def test_torchrun_can_start_the_ranks_too(two: TrainSpec, slot_python: Path, tmp_path: Path) -> None:
    (path := two.out / "spec.json").write_text(json.dumps(two.to_json()))
    done = subprocess.run(
        [slot_python, "-P", "-s", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
         "finetune.train", "--spec", path], capture_output=True, text=True, check=False, timeout=900,
        env=environment(slot_python, tmp_path, 1), cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "finished"
    assert manifest.verify(two.out / "adapter") == []


def ended(number: int, status: int, code: str | None = None, *, by_us: bool = False) -> Rank:
    failed = None if code is None else {"event": "failed", "code": code, "message": "why"}
    return Rank(number, cast("subprocess.Popen[bytes]", None), failed, status, by_us)


def test_the_rank_that_knows_why_is_quoted() -> None:
    lost = ended(0, 1, "training_failed")  # connection closed by peer
    assert cause_of([lost, ended(1, -9)], 2)["message"].startswith("rank 1 of 2 was killed by SIGKILL")
    assert cause_of([lost, ended(1, 1, "out_of_memory")], 2)["code"] == "out_of_memory"
    assert cause_of([ended(0, -9, by_us=True), ended(1, 1, "training_failed")], 2)["message"] == "rank 1 of 2: why"
    assert "exited with status 3" in cause_of([ended(0, 3)], 2)["message"]
