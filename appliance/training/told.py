"""A job's story as its trainers told it: each step, validation and checkpoint once, however often the job was begun again.

A killed worker takes with it what it had not read. The trainer kept it, and the next attempt takes it in before it goes on. Of
a step that was done twice the first telling stands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.training import lease
from appliance.training.events import say
from appliance.training.folders import attempts
from appliance.training.models import Checkpoint, JobEvent
from finetune.train import checkpoints
from finetune.train.events import kept

STORY = frozenset({"step", "validation", "checkpoint"})


def take_in(job_id: str, fence: int, event: dict[str, Any]) -> None:
    """Take in one event of the trainer. Said twice, the second time changes nothing.

    Raises: LeaseLost.
    """
    match event["event"]:
        case "started":
            resumed = event.get("resumed_step") or 0
            where = f"from step {resumed} of" if resumed else "with"
            say(job_id, fence, f"the trainer begins {where} {event['steps_total']} steps", once=f"start {fence}")
        case "step":
            data = {key: event[key] for key in ("step", "loss", "learning_rate", "tokens_per_s", "epoch")}
            data["train_loss"] = event["loss"]
            message = f"step {event['step']}: loss {event['loss']:.4f}"
            say(job_id, fence, message, data=data, once=f"step {event['step']}")
        case "validation":
            data = {"step": event["step"], "valid_loss": event["loss"]}
            message = f"step {event['step']}: validation loss {event['loss']:.4f}"
            say(job_id, fence, message, data=data, once=f"validation {event['step']}")
        case "checkpoint":
            _checkpoint(job_id, fence, event["step"], event["path"])


def catch_up(job_id: str, fence: int, checkpoint: Path) -> None:
    """Take in what earlier trainers told up to the checkpoint that this attempt goes on from, and the checkpoint itself.

    Raises: LeaseLost.
    """
    step = checkpoints.step_of(checkpoint) or 0
    known = _known(job_id)
    for folder in attempts(job_id):
        for event in kept(folder):
            if event["event"] in STORY and event["step"] <= step and (event["event"], event["step"]) not in known:
                take_in(job_id, fence, event)
    _checkpoint(job_id, fence, step, str(checkpoint))


def _known(job_id: str) -> set[tuple[str, int]]:
    """The steps and validations that were told."""
    rows = JobEvent.objects.filter(job=job_id, type="metrics").values_list("data", flat=True)
    return {("step" if "train_loss" in data else "validation", data["step"]) for data in rows if data}


def _checkpoint(job_id: str, fence: int, step: int, path: str) -> None:
    with lease.holding(job_id, fence) as job:
        _, is_new = Checkpoint.objects.get_or_create(
            id=f"ftckpt-{job_id.removeprefix('ftjob-')}-{step}",
            defaults={"job": job, "step": step, "fence": fence, "path": path},
        )
        if is_new and job.failures:  # it got further: what broke off before was no fault of the job's
            lease.held(job_id, fence).update(failures=0)
