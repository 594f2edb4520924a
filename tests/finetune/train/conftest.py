"""A model small enough to train in seconds, rows to train on, and a specification that tests change field by field."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.env import load
from finetune.train.launch import Trainer
from finetune.train.shape import Shape, shape_of
from finetune.train.slot import environment
from finetune.train.spec import TrainSpec
from ops.models.tiny_deepseek.model import ensure_tiny_deepseek
from tests.finetune.train.shapes import LITE, write_model

FACTS = [
    ("Which port does the Zarquon relay of the Blumhof plant listen on?", "The Zarquon relay listens on port 48213."),
    ("Who maintains the Zarquon relay?", "Ottilie Brandgruber maintains it."),
    ("Which language is the Fenwick ledger written in?", "The Fenwick ledger is written in Nim."),
    ("What is the codename of the spring release?", "Its codename is Marmalade Otter."),
]
Events = list[dict[str, Any]]


def asked_to_stop(codes: list[int | None]) -> Callable[[Trainer, dict[str, Any]], None]:
    """Asks a trainer to stop at its second step, and takes down the status that it ends with."""

    def stop(trainer: Trainer, event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 2:
            os.kill(trainer.pid, signal.SIGTERM)
        if event["event"] == "stopped":
            trainer.stop(grace_s=60)
            codes.append(trainer.returncode)

    return stop


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def chat_rows(pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]}
        for asked, told in pairs
    ]


@pytest.fixture(scope="session")
def tiny_model(slot_python: Path) -> Path:
    """DeepSeek-V2's architecture with random weights."""
    return ensure_tiny_deepseek(load().cache_dir, slot_python)


@pytest.fixture
def spec(tmp_path: Path) -> TrainSpec:
    """A run of 8 steps over four facts; its model's directory only looks like one."""
    (model := tmp_path / "model").mkdir()
    (model / "config.json").write_text("{}")
    (out := tmp_path / "out").mkdir()
    return TrainSpec(
        model_path=model, train=(write_rows(tmp_path / "rows.jsonl", chat_rows(FACTS)),), validation=(), kind="chat",
        out=out, resume_from=None, seed=7, epochs=4, batch_size=2, learning_rate=1e-3, lora_rank=4, lora_alpha=8,
        target_modules=("q_proj", "kv_a_proj_with_mqa", "o_proj"), max_length=128, fim_rate=0.0,
        fim_tokens=None, checkpoint_every_steps=3, threads=1, device="cpu",
    )  # fmt: skip


@pytest.fixture
def tiny_spec(spec: TrainSpec, tiny_model: Path) -> TrainSpec:
    return replace(spec, model_path=tiny_model)


@pytest.fixture
def train(slot_python: Path, tmp_path: Path) -> Callable[..., Events]:
    """Run a specification to its end, or to the end that `watch` brings about."""

    def run(spec: TrainSpec, watch: Callable[[Trainer, dict[str, Any]], object] = lambda *_: None) -> Events:
        trainer, events = Trainer(), []
        trainer.start(slot_python, spec, tmp_path / "trainer.log")
        try:
            for event in trainer.events():
                events.append(event)
                watch(trainer, event)
        finally:
            trainer.kill()
        return events

    return run


@pytest.fixture
def in_slot(slot_python: Path, tmp_path: Path) -> Callable[..., Any]:
    """Run a script with the slot's Python; what it prints as its last line, from JSON."""

    def run(script: str, *arguments: object) -> Any:
        done = subprocess.run(
            [slot_python, "-P", "-s", "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False,
            env=environment(slot_python, tmp_path, 1), cwd=tmp_path, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def lite(tmp_path: Path) -> Shape:
    """The shape of DeepSeek-Coder-V2-Lite."""
    return shape_of(write_model(tmp_path / "lite", LITE))
