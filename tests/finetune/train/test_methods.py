"""Training experts, or all parameters: what changes and what stays, resumed or not, on one rank and on two."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune import manifest
from finetune.evaluate.run_scoring import run_scoring
from finetune.train.checkpoints import directory
from finetune.train.methods import EXPERTS, FULL, GATE
from finetune.train.spec import TrainSpec, faults_of
from tests.finetune.train.conftest import FACTS, Events, chat_rows
from tests.finetune.train.test_ranks import WITHIN, losses

pytestmark = pytest.mark.engine
# What differs between a base and tensors by the same names, and what has no such name.
COMPARE = """
import json, sys
from pathlib import Path
from safetensors import safe_open
base = safe_open(Path(sys.argv[1]) / "model.safetensors", "pt")
different, same, unknown = [], [], []
for path in sorted(Path(sys.argv[2]).glob("*.safetensors")):
    found = safe_open(path, "pt")
    for name in found.keys():
        if name not in base.keys():
            unknown.append(name)
            continue
        other, one = base.get_tensor(name), found.get_tensor(name)
        assert one.dtype == other.dtype and one.shape == other.shape, name
        (same if one.equal(other) else different).append(name)
print(json.dumps([different, same, unknown, len(base.keys())]))
"""
# A run in this process: the parameters that it may not touch, before and after.
FROZEN = """
import hashlib, json, sys, threading
from pathlib import Path
from finetune.train.loop import Run
from finetune.train.spec import parse

def digest(model):
    frozen = {name: one for name, one in model.named_parameters() if not one.requires_grad}
    found = hashlib.sha256()
    for name, one in sorted(frozen.items()):
        found.update(name.encode() + one.detach().contiguous().view(-1).view(__import__("torch").uint8).numpy().tobytes())
    return len(frozen), found.hexdigest()

run = Run(parse(json.loads(sys.argv[1])), lambda **_: None, threading.Event())
before = digest(run.model)
run.go()
print(json.dumps([before, digest(run.model)]))
"""


def by_experts(spec: TrainSpec, share: float = 0.25) -> TrainSpec:
    return replace(spec, method=EXPERTS, expert_share=share, target_modules=(), learning_rate=3e-3)


def whole(spec: TrainSpec) -> TrainSpec:
    return replace(spec, method=FULL, target_modules=(), learning_rate=3e-4)


def same_bytes(one: Path, other: Path) -> bool:
    return all((one / file.path).read_bytes() == (other / file.path).read_bytes() for file in manifest.read(one).files)


@pytest.mark.long
def test_experts_that_the_data_uses_most_are_trained_and_nothing_else(
    in_slot: Callable[..., Any], tiny_spec: TrainSpec
) -> None:
    spec = by_experts(tiny_spec)
    untouched, found = in_slot(FROZEN, json.dumps(spec.to_json()))
    assert untouched == found
    result = tiny_spec.out / "experts"
    assert manifest.verify(result) == []
    layers = json.loads((result / "experts.json").read_text())["layers"]
    assert set(layers) == {f"model.layers.{number}.mlp.experts" for number in (1, 2, 3)}
    assert all(1 <= len(chosen) <= 4 for chosen in layers.values())
    different, same, unknown, _ = in_slot(COMPARE, spec.model_path, result)
    assert (same, unknown) == ([], [])
    halves = ("gate_proj", "up_proj", "down_proj")
    assert sorted(different) == sorted(
        f"{layer}.{number}.{half}.weight" for layer, chosen in layers.items() for number in chosen for half in halves
    )


@pytest.mark.long
def test_experts_learn_on_two_ranks_what_they_learn_on_one_and_resume_to_the_same_bytes(
    train: Callable[..., Events], tiny_spec: TrainSpec, tmp_path: Path
) -> None:
    spec = replace(by_experts(tiny_spec, 0.5), epochs=8, expert_score=GATE)
    one = train(spec)
    assert losses(one)[-1] < 0.9 * losses(one)[0]
    resumed = train(replace(spec, out=tmp_path / "resumed", resume_from=directory(spec.out, 15)))
    assert losses(resumed) == losses(one)[15:]
    assert same_bytes(spec.out / "experts", tmp_path / "resumed" / "experts")
    two = replace(spec, ranks=2, out=tmp_path / "two")
    both = train(two)
    assert losses(both) == pytest.approx(losses(one), rel=WITHIN)
    again = train(replace(two, out=tmp_path / "again", resume_from=directory(two.out, 15)))
    assert losses(again) == losses(both)[15:]
    assert same_bytes(two.out / "experts", tmp_path / "again" / "experts")


@pytest.mark.long
def test_a_whole_model_learns_on_one_rank_and_on_two_and_is_a_model_again(
    train: Callable[..., Events], in_slot: Callable[..., Any], tiny_spec: TrainSpec, slot_python: Path, tmp_path: Path
) -> None:
    spec = whole(tiny_spec)
    one = train(spec)
    assert one[-1]["event"] == "finished", one[-1]
    assert losses(one)[-1] < 0.8 * losses(one)[0]
    resumed = train(replace(spec, out=tmp_path / "resumed", resume_from=directory(spec.out, 6)))
    assert losses(resumed) == losses(one)[6:]
    assert same_bytes(spec.out / "model", tmp_path / "resumed" / "model")

    two = replace(spec, ranks=2, out=tmp_path / "two")
    both = train(two)
    assert both[-1]["event"] == "finished", both[-1]
    assert losses(both) == pytest.approx(losses(one), rel=WITHIN)
    assert max(both[1]["base_bytes"]) < 0.51 * sum(both[1]["base_bytes"])
    again = train(replace(two, out=tmp_path / "again", resume_from=directory(two.out, 6)))
    assert losses(again) == losses(both)[6:]
    assert same_bytes(two.out / "model", tmp_path / "again" / "model")

    made = Path(both[-1]["result"])
    assert manifest.verify(made) == []
    different, _same, unknown, tensors = in_slot(COMPARE, spec.model_path, made)
    assert unknown == []
    assert len(different) > 0.9 * tensors
    texts = [("row", chat_rows(FACTS[:1])[0])]
    before, after = (
        sum(value or 0.0 for row in run_scoring(slot_python, model, None, texts, tmp_path / "log", threads=1)
            for value in row.logprobs[row.answer_start :])
        for model in (spec.model_path, made)
    )  # fmt: skip
    assert after > before


def test_a_method_is_one_that_there_is(spec: TrainSpec) -> None:
    (fault,) = faults_of(replace(spec, method="grpo"))
    assert "lora, full, experts" in fault
    (fault,) = faults_of(replace(by_experts(spec), expert_score="luck"))
    assert "tokens, gate" in fault
    assert faults_of(whole(spec)) == []


@pytest.mark.long
def test_a_model_without_experts_has_none_to_train(
    train: Callable[..., Events], tiny_spec: TrainSpec, demo_model: Path
) -> None:
    (event,) = train(replace(by_experts(tiny_spec), model_path=demo_model))
    assert (event["event"], event["code"]) == ("failed", "bad_model")
    assert "without routed experts" in event["message"]
