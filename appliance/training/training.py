"""Runs the trainer for one attempt, hands on what it tells, and takes its adapter in."""

from __future__ import annotations

import json
import math
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from appliance.fleet import loans
from appliance.fleet.models import Deployment
from appliance.registry.models import Adapter
from appliance.training import lease, metrics, signing, told
from appliance.training.adapters import public_name
from appliance.training.devices import Leased, NoDevice
from appliance.training.errors import AttemptFailed, BrokeOff, LeaseLost
from appliance.training.events import add_event
from appliance.training.folders import attempt_dir, attempts, job_dir
from appliance.training.heartbeat import Heartbeat
from appliance.training.holes import tokens_of
from appliance.training.jobs import lora_targets
from appliance.training.models import Dataset, Job
from appliance.training.patience import patiently
from appliance.training.plan import CHARACTERS_PER_TOKEN, MAX_LENGTH
from appliance.training.replay import mixed_in
from appliance.training.rows import rows_for, said_of
from appliance.training.serving import NoEngine
from finetune import manifest
from finetune.job import JobStatus
from finetune.train import checkpoints
from finetune.train.errors import SpecRefused
from finetune.train.hyperparameters import choose, data_of
from finetune.train.launch import Trainer
from finetune.train.spec import TrainSpec

MOST_STEPS_LOST = 100  # by a kill
STOP_GRACE_S = 6.0
BAD_CHECKPOINT = "bad_checkpoint"
PASSING = frozenset({"trainer_died", BAD_CHECKPOINT})  # another attempt may not meet them


def last_checkpoint(job_id: str) -> Path | None:
    """The whole checkpoint with the most steps of any attempt; a half-written or damaged one is passed over."""
    found = (path for folder in attempts(job_id) for path in folder.glob("checkpoint-*") if checkpoints.step_of(path))
    newest_first = sorted(found, key=lambda path: path.name, reverse=True)
    return next((path for path in newest_first if not manifest.verify(path)), None)


def train(
    job: Job, fence: int, heart: Heartbeat, device: Leased, training: Dataset, validation: Dataset | None
) -> Adapter:
    """Train in a process of the engine slot and take its adapter in.

    Raises: LeaseLost, AttemptFailed.
    """
    folder = attempt_dir(job.pk, fence)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    deployment = Deployment.objects.select_related("slot").filter(model=job.base, running=True).first()
    if deployment is None:
        raise NoEngine(f"{job.base.name} is not served at the moment")
    spec = _spec(job, folder, device, training, validation)
    if spec.resume_from is not None:
        told.catch_up(job.pk, fence, spec.resume_from)
    trainer = Trainer()
    try:
        trainer.start(Path(deployment.slot.path) / "bin" / "python", spec, folder / "trainer.log", device.environment)
    except SpecRefused as error:
        raise AttemptFailed("server_error", f"the trainer can't be given this job: {error}") from error
    heart.when_lost(lambda: trainer.stop(STOP_GRACE_S))
    try:
        with metrics.TRAINING.time():
            finished = _follow(job, fence, heart, trainer)
    finally:
        heart.when_lost(None)
        trainer.stop(STOP_GRACE_S)
    return patiently(lambda: _take_in(job, fence, finished, training))


def _spec(job: Job, folder: Path, device: Leased, training: Dataset, validation: Dataset | None) -> TrainSpec:
    rows, held_out, num_own = rows_for(job.seed, job_dir(job.pk), training, validation)
    mixed = mixed_in(job.pk)
    train, num_rows = ((rows,), num_own) if mixed is None else ((rows, mixed.rows), num_own + mixed.count)
    tokens = round(sum(path.stat().st_size for path in train) / CHARACTERS_PER_TOKEN)
    length = min(MAX_LENGTH, job.base.max_model_len)
    fim_tokens = tokens_of(job.base) if training.kind == "text" else None
    data = data_of(training.kind, num_rows, tokens, length, fim_tokens is not None)
    chosen = choose(data, job.hyperparameters)
    fence = int(folder.name)
    with lease.holding(job.pk, fence):
        add_event(job.pk, said_of(num_own, training, validation), once="rows")
        settled = {name: getattr(chosen, name) for name in job.hyperparameters}
        lease.held(job.pk, fence).update(hyperparameters=settled)
    steps = math.ceil(data.sequences / chosen.batch_size) * chosen.n_epochs
    return TrainSpec(
        model_path=Path(job.base.path), train=train, validation=held_out, kind=training.kind, out=folder,
        resume_from=last_checkpoint(job.pk), seed=job.seed, epochs=chosen.n_epochs, batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate, lora_rank=chosen.lora_rank, lora_alpha=chosen.lora_alpha,
        target_modules=lora_targets(job.base), max_length=length, fim_rate=chosen.fim_rate, fim_tokens=fim_tokens,
        checkpoint_every_steps=max(2, min(MOST_STEPS_LOST, steps // 5)), threads=device.threads,
        device=device.kind,
    )  # fmt: skip


def _follow(job: Job, fence: int, heart: Heartbeat, trainer: Trainer) -> dict[str, Any]:
    """Take in what the trainer tells until it has finished; the last event."""
    for event in trainer.events():
        heart.check()
        name = event["event"]
        if name == "finished":
            return event
        if name == "failed" and event["code"] in PASSING:
            if event["code"] == BAD_CHECKPOINT:  # of another version or device: from the beginning, then
                for path in job_dir(job.pk).glob("attempts/*/checkpoint-*"):
                    shutil.rmtree(path, ignore_errors=True)
            raise BrokeOff(f"{job.pk}: {event['message']}")
        if name == "failed":
            raise AttemptFailed(event["code"], f"training failed: {event['message']}")
        if name == "stopped":
            raise LeaseLost(f"{job.pk}: the trainer was told to stop")
        patiently(lambda event=event: told.take_in(job.pk, fence, event))  # type: ignore[misc]
        if name == "checkpoint":
            patiently(lambda: _give_back_if_asked(job, fence))
    raise BrokeOff(f"{job.pk}: the trainer ended without a word")


def _give_back_if_asked(job: Job, fence: int) -> None:
    """Where its device was only lent: the pool or an operator may want it back.

    Raises: NoDevice, which ends the attempt and frees the device; LeaseLost.
    """
    reason = loans.asked_back(job.pk)
    if reason is None:
        return
    with lease.holding(job.pk, fence):
        lease.move(job.pk, fence, JobStatus.RUNNING, JobStatus.QUEUED)
        add_event(job.pk, f"its device was {reason}; training goes on from this checkpoint once there is one")
    raise NoDevice(f"{job.pk}: {reason}")


def _take_in(job: Job, fence: int, finished: dict[str, Any], training: Dataset) -> Adapter:
    """The adapter's row and the job's link to it, in one transaction that carries the fence."""
    path = Path(finished["adapter"])
    faults = manifest.verify(path)
    if faults:
        raise AttemptFailed("server_error", f"the trainer's adapter is not whole: {'; '.join(faults[:3])}")
    config = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
    mixed = mixed_in(job.pk)
    with lease.holding(job.pk, fence) as row:
        if row.adapter is not None:  # the commit went through, only its answer was lost
            return row.adapter
        adapter = Adapter.objects.create(
            name=public_name(job.base.name, job.tenant_id, job.suffix), tenant=job.tenant, base=job.base, path=str(path),
            digest=manifest.read(path).digest, rank=config["r"], target_modules=sorted(config["target_modules"]),
            lineage={
                "job": job.pk, "dataset_digest": training.digest, "base_digest": job.base.digest, "seed": job.seed,
                "code_version": version("coderack"), "train_loss": finished["train_loss"],
                "validation_loss": finished["validation_loss"], "signoffs": signing.lineage(job),
                **({"replay": mixed.facts} if mixed else {}),
            },
        )  # fmt: skip
        lease.held(job.pk, fence).update(adapter=adapter, trained_tokens=finished["trained_tokens"])
        add_event(job.pk, f"training is over: {finished['trained_tokens']} tokens, adapter {adapter.digest[:12]}")
    return adapter
