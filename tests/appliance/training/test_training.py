"""What the control plane does with what a trainer tells."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from appliance.training import training
from appliance.training.errors import BrokeOff
from appliance.training.heartbeat import Heartbeat
from appliance.training.models import Job
from finetune import manifest
from finetune.train import checkpoints
from finetune.train.launch import Trainer


class Told:
    """A trainer of which only the events count, and a heart that beats."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self._events = events

    def events(self) -> Iterator[dict[str, Any]]:
        yield from self._events

    def check(self) -> None:
        """The lease is held."""


def test_a_job_whose_checkpoint_is_of_another_way_to_train_starts_from_the_beginning(job: Job) -> None:
    checkpoint = checkpoints.directory(training.attempt_dir(job.pk, 1), 40)
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}")
    manifest.write(checkpoint, name=checkpoint.name, origin="finetune:old", licence="internal")
    assert training.last_checkpoint(job.pk) == checkpoint
    told = Told({"event": "failed", "code": "bad_checkpoint", "message": "of a run with other settings"})
    with pytest.raises(BrokeOff, match="other settings"):
        training._follow(job, 2, cast(Heartbeat, told), cast(Trainer, told))
    assert training.last_checkpoint(job.pk) is None
    assert Path(training.attempt_dir(job.pk, 1)).is_dir()
    shutil.rmtree(training.job_dir(job.pk))
