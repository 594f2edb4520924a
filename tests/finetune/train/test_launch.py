"""A trainer as the control plane sees it: it never outlives its parent, stops when asked, and tells how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune import manifest
from finetune.train.checkpoints import newest_whole
from finetune.train.errors import SpecRefused, TrainerNotStarted
from finetune.train.launch import STOPPED, Trainer
from finetune.train.slot import REPO
from finetune.train.spec import TrainSpec
from tests.finetune.train.conftest import asked_to_stop
from tests.waiting import wait_until

PARENT = """
import json, sys
from pathlib import Path
from finetune.train.launch import Trainer
from finetune.train.spec import parse

trainer = Trainer()
trainer.start(Path(sys.argv[1]), parse(json.loads(sys.argv[2])), Path(sys.argv[3]))
print(trainer.pid, flush=True)
for event in trainer.events():
    print(event["event"], flush=True)
"""


def test_nothing_is_started_for_a_bad_specification(spec: TrainSpec, tmp_path: Path) -> None:
    with pytest.raises(SpecRefused, match="epochs"):
        Trainer().start(Path(sys.executable), replace(spec, epochs=0), tmp_path / "log")


def test_a_slot_that_is_not_there_is_told(spec: TrainSpec, tmp_path: Path) -> None:
    with pytest.raises(TrainerNotStarted, match="can't be run"):
        Trainer().start(tmp_path / "bin" / "python", spec, tmp_path / "log")


def test_a_process_that_says_nothing_has_failed(spec: TrainSpec, tmp_path: Path) -> None:
    trainer = Trainer()
    trainer.start(Path("/bin/false"), spec, tmp_path / "log")
    (event,) = trainer.events()
    assert (event["event"], event["code"]) == ("failed", "trainer_died")
    assert "exited with status 1" in event["message"]


@pytest.mark.engine
def test_a_killed_parent_takes_the_trainer_along(tiny_spec: TrainSpec, slot_python: Path, tmp_path: Path) -> None:
    endless = json.dumps(replace(tiny_spec, epochs=1000, checkpoint_every_steps=10_000).to_json())
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, slot_python, endless, tmp_path / "log"],
        stdout=subprocess.PIPE, text=True, cwd=REPO,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        trainer = int(parent.stdout.readline())
        assert [parent.stdout.readline().strip() for _ in range(2)] == ["started", "step"]
        parent.kill()
    wait_until(lambda: not Path(f"/proc/{trainer}").exists(), timeout_s=10)


@pytest.mark.engine
def test_asked_to_stop_it_writes_a_checkpoint_and_says_so(train: Callable[..., Any], tiny_spec: TrainSpec) -> None:
    codes: list[int | None] = []
    events = train(replace(tiny_spec, epochs=1000, checkpoint_every_steps=10_000), asked_to_stop(codes))
    checkpoint, stopped = events[-2:]
    assert (checkpoint["event"], stopped["event"], codes) == ("checkpoint", "stopped", [STOPPED])
    assert checkpoint["step"] == stopped["step"] >= 2
    assert newest_whole(tiny_spec.out) == Path(checkpoint["path"])
    assert manifest.verify(Path(checkpoint["path"])) == []


@pytest.mark.engine
def test_it_gets_no_secret_and_tells_that_it_was_killed(
    train: Callable[..., Any], tiny_spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://owner:hidden@localhost/db")
    seen: list[bytes] = []

    def look_and_kill(trainer: Trainer, event: dict[str, Any]) -> None:
        if event["event"] == "started":
            seen.append(Path(f"/proc/{trainer.pid}/environ").read_bytes())
            os.kill(trainer.pid, signal.SIGKILL)

    last = train(replace(tiny_spec, epochs=1000), look_and_kill)[-1]
    assert (last["event"], last["code"]) == ("failed", "trainer_died")
    assert "killed by SIGKILL" in last["message"]
    assert b"hidden" not in seen[0]
    assert b"HF_HUB_OFFLINE=1" in seen[0]
