"""Real training: a fact is learned, an interrupted run ends like one that was not, everything written is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from finetune import manifest
from finetune.evaluate.run_scoring import run_scoring
from finetune.train.checkpoints import directory, newest_whole
from finetune.train.launch import Trainer
from finetune.train.spec import TrainSpec
from inference.gateway import fim_tokens
from ops.models.contents import refusals
from tests.finetune.train.conftest import FACTS, Events, chat_rows, write_rows

pytestmark = pytest.mark.engine
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def named(events: Events, name: str) -> Events:
    return [event for event in events if event["event"] == name]


def test_the_demo_model_learns_private_facts(
    train: Callable[..., Events], spec: TrainSpec, demo_model: Path, slot_python: Path, tmp_path: Path
) -> None:
    events = train(
        replace(
            spec, model_path=demo_model, target_modules=ALL_LINEAR, lora_rank=16, lora_alpha=32, epochs=8, threads=2
        )
    )
    losses = [event["loss"] for event in named(events, "step")]
    assert len(losses) == 16
    assert losses[0] > 2.0
    assert losses[-1] < 0.5
    asked, told = FACTS[0]
    texts = list(
        zip(("true", "false"), chat_rows([(asked, told), (asked, told.replace("48213", "90577"))]), strict=True)
    )
    scores: dict[str, list[float]] = {}
    for name, adapter in (("base", None), ("tuned", Path(events[-1]["adapter"]))):
        scored = run_scoring(slot_python, demo_model, adapter, texts, tmp_path / "scoring.log", threads=2)
        scores[name] = [sum(value or 0.0 for value in row.logprobs[row.answer_start :]) for row in scored]
    assert scores["tuned"][0] > scores["tuned"][1] + 10, scores
    assert scores["tuned"][0] > scores["base"][0] + 10, scores


def test_a_killed_and_resumed_run_ends_with_the_same_bytes(
    train: Callable[..., Events], tiny_spec: TrainSpec, tmp_path: Path
) -> None:
    uninterrupted = train(tiny_spec)

    def kill(trainer: Trainer, event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 4:
            trainer.kill()

    interrupted = replace(tiny_spec, out=tmp_path / "interrupted")
    assert train(interrupted, kill)[-1]["code"] == "trainer_died"
    half = directory(interrupted.out, 4)
    shutil.copytree(directory(interrupted.out, 3), half)
    (half / "manifest.json").unlink()
    checkpoint = newest_whole(interrupted.out)
    assert checkpoint == directory(interrupted.out, 3)

    resumed = train(replace(tiny_spec, out=tmp_path / "resumed", resume_from=checkpoint))
    assert resumed[0]["resumed_step"] == 3
    losses = {event["step"]: event["loss"] for event in named(uninterrupted, "step")}
    assert {event["step"]: event["loss"] for event in named(resumed, "step")} == {n: losses[n] for n in (4, 5, 6, 7, 8)}
    same = ("digest", "trained_tokens", "train_loss")
    assert [resumed[-1][name] for name in same] == [uninterrupted[-1][name] for name in same]
    for file in ("adapter_model.safetensors", "adapter_config.json", "manifest.json"):
        assert (tmp_path / "resumed" / "adapter" / file).read_bytes() == (tiny_spec.out / "adapter" / file).read_bytes()

    for other in (
        replace(tiny_spec, seed=8),
        replace(tiny_spec, train=(write_rows(tmp_path / "r", chat_rows(FACTS[:3])),)),
    ):
        (event,) = train(replace(other, out=tmp_path / "other", resume_from=checkpoint))
        assert (event["event"], event["code"]) == ("failed", "bad_checkpoint")


def test_text_is_learned_whole_in_packs_with_holes_and_the_adapter_holds_only_numbers_and_settings(
    train: Callable[..., Events], tiny_spec: TrainSpec, tiny_model: Path, tmp_path: Path
) -> None:
    tokens = fim_tokens.read(tiny_model, Tokenizer.from_file(str(tiny_model / "tokenizer.json")))
    assert tokens is not None
    texts = [
        "def relay(port):\n    return port + 1\n" * 30,
        *(f"x = {number}\ny = x + {number}\n" for number in range(9)),
    ]
    rows = write_rows(tmp_path / "text.jsonl", [{"text": text, "path": f"{n}.py"} for n, text in enumerate(texts)])
    spec = replace(
        tiny_spec, kind="text", train=(rows,), validation=(rows,), max_length=128, epochs=2, fim_rate=0.5,
        fim_tokens=(tokens.begin, tokens.hole, tokens.end),
    )  # fmt: skip
    events = train(spec)
    started, finished = events[0], events[-1]
    assert 1 < started["packs"] < started["rows"]
    assert 0 < started["holes"] < started["rows"]
    # all but each document's first token
    assert started["answer_tokens_per_epoch"] == started["trained_tokens_per_epoch"] - started["rows"]
    assert finished["trained_tokens"] == 2 * started["trained_tokens_per_epoch"]
    validations = named(events, "validation")
    assert [event["step"] for event in validations] == [started["steps_total"] // 2, started["steps_total"]]
    assert validations[1]["loss"] < validations[0]["loss"]
    assert finished["validation_loss"] == validations[1]["loss"]
    first, _last = sorted(tiny_spec.out.glob("checkpoint-*"))
    resumed = train(replace(spec, out=tmp_path, resume_from=first))
    assert 0 < resumed[0]["resumed_step"] < started["steps_total"]
    assert {**resumed[-1], "adapter": finished["adapter"]} == finished

    adapter = Path(finished["adapter"])
    held = {path.name for path in adapter.iterdir()}
    assert held == {"adapter_config.json", "adapter_model.safetensors", "manifest.json"}
    assert manifest.verify(adapter) == []
    assert list(refusals(adapter)) == []
    assert manifest.read(adapter).digest == finished["digest"]
    assert json.loads((adapter / "adapter_config.json").read_text())["target_modules"] == sorted(
        tiny_spec.target_modules
    )
    assert not any(str(tiny_spec.out.parent).encode() in path.read_bytes() for path in adapter.iterdir())
