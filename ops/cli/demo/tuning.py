"""A fine-tune through the API, its worker killed in the middle of training, and how it ends nevertheless."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from statistics import fmean
from typing import Any

from appliance.training.models import Checkpoint, Job, JobEvent
from ops.cli.demo.cast import NORTH, SOUTH
from ops.cli.demo.walk import Shown, StepFailed, Walk, found, ms_since, refusal_of

BEGIN_S = 90.0
CHECKPOINT_S = 600.0
BACK_S = 30.0
RESUME_S = 240.0  # a lease runs out after 20 s, then the trainer loads the model again
END_S = 900.0
SETTINGS: dict[str, Any] = {"n_epochs": 10, "batch_size": 4, "learning_rate_multiplier": 1.0}
SEED = 20406
FROM_STEP = re.compile(r"from step (\d+)")


def refuse_an_unknown_base(walk: Walk) -> Shown:
    """A fine-tune of a model that does not exist is refused before anything is queued."""
    refusal = refusal_of(
        lambda: walk.client(NORTH).fine_tuning.jobs.create(model="no-such-model", training_file=walk.files["north"])
    )
    if refusal.code != "model_not_found" or refusal.param != "model":
        raise StepFailed(f"refused with {refusal.facts()}")
    return Shown("no-such-model", {"status": refusal.status, "code": refusal.code}, {"tenant": NORTH})


def refuse_anothers_file(walk: Walk) -> Shown:
    """A fine-tune on another tenant's file is refused as one on a file that never was."""
    refusal = refusal_of(
        lambda: walk.client(SOUTH).fine_tuning.jobs.create(model=walk.model, training_file=walk.files["north"])
    )
    if refusal.param != "training_file":
        raise StepFailed(f"refused with {refusal.facts()}")
    return Shown(walk.files["north"], {"status": refusal.status, "code": refusal.code}, {"tenant": SOUTH})


def begin_a_fine_tune(walk: Walk) -> Shown:
    """A fine-tune begins; its steps and their loss can be followed as events."""
    begin = time.monotonic()
    job_id = create(walk, NORTH, "north", "facts", SETTINGS)
    client = walk.client(NORTH)
    found(lambda: _running(client.fine_tuning.jobs.retrieve(job_id)), BEGIN_S, f"{job_id} did not begin to train", 0.3)
    begun_ms = ms_since(begin)

    def metrics() -> list[Any]:
        events = client.fine_tuning.jobs.list_events(job_id, limit=100).data
        steps = [event for event in events if event.type == "metrics"]
        return steps if len(steps) >= 2 else []

    steps = found(metrics, CHECKPOINT_S, f"{job_id} logged no training steps", 0.3)
    first: Any = steps[-1].data
    return Shown(
        json.dumps(SETTINGS), {"running_after_ms": begun_ms, "first_loss": round(float(first["train_loss"]), 4)},
        {"job": job_id, "tenant": NORTH, "base": walk.model, "seed": SEED},
    )  # fmt: skip


def create(walk: Walk, tenant: str, name: str, suffix: str, settings: dict[str, Any]) -> str:
    """Ask for a fine-tune as a tenant does; its id."""
    hyperparameters: Any = settings
    job = walk.client(tenant).fine_tuning.jobs.create(
        model=walk.model,
        training_file=walk.files[name],
        validation_file=walk.files[f"{name} validation"],
        suffix=suffix,
        seed=SEED,
        method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
    )
    walk.jobs[name] = job.id
    return job.id


def _running(job: Any) -> bool:
    if job.status in {"failed", "cancelled"}:
        raise StepFailed(f"{job.id} {job.status}: {job.error.message if job.error else 'no reason given'}")
    return bool(job.status in {"running", "succeeded"})


def kill_the_worker(walk: Walk) -> Shown:
    """SIGKILL to the worker in the middle of training: another attempt goes on from the last whole checkpoint."""
    job_id = walk.jobs["north"]
    saved = found(
        lambda: Checkpoint.objects.filter(job=job_id).order_by("step").first(), CHECKPOINT_S,
        f"{job_id} wrote no checkpoint", 0.1,
    )  # fmt: skip
    before = Job.objects.get(pk=job_id)
    if before.status != "running" or before.adapter_id is not None:
        raise StepFailed(f"{job_id} was over before its worker could be killed ({before.status})")
    worker = _worker_pid(walk)
    if not worker:
        raise StepFailed("no worker runs under this machine's runner, so none can be killed")
    os.kill(worker, signal.SIGKILL)
    begin = time.monotonic()
    found(lambda: _worker_pid(walk) not in {0, worker}, BACK_S, "the runner did not start another worker", 0.1)
    back_ms = ms_since(begin)
    found(
        lambda: Job.objects.filter(pk=job_id, fence__gt=before.fence).exists(), RESUME_S, f"{job_id} was not taken up again",
        0.2,
    )  # fmt: skip
    taken_up_ms = ms_since(begin)
    from_step = found(lambda: _resumed_step(job_id), RESUME_S, f"{job_id} began again from its first step", 0.2)
    return Shown(
        str(worker),
        {
            "killed_after_step": saved.step, "worker_back_after_ms": back_ms, "taken_up_after_ms": taken_up_ms,
            "went_on_from_step": from_step, "fences": [before.fence, Job.objects.get(pk=job_id).fence],
        },
        {"job": job_id, "killed_pid": worker, "checkpoint": saved.pk},
    )  # fmt: skip


def _worker_pid(walk: Walk) -> int:
    """The worker's pid as the runner keeps it; 0 while there is none."""
    try:
        rows = json.loads((walk.env.run_dir / "processes.json").read_text())
    except (OSError, ValueError):
        return 0  # it is being written, or the runner is not ours
    return next((int(row["pid"]) for row in rows if row["name"] == "worker"), 0)


def _resumed_step(job_id: str) -> int:
    for message in (
        JobEvent.objects.filter(job=job_id, type="message").order_by("-seq").values_list("message", flat=True)
    ):
        match = FROM_STEP.search(message)
        if match:
            return int(match.group(1))
    return 0


def end_a_fine_tune(walk: Walk) -> Shown:
    """It ends as succeeded: trained to its last step, proved, and its adapter loaded."""
    return ended(walk, NORTH, "north")


def ended(walk: Walk, tenant: str, name: str) -> Shown:
    """Wait for a job's end and measure its loss.

    Raises: StepFailed when it failed.
    """
    job_id, begin = walk.jobs[name], time.monotonic()
    client = walk.client(tenant)

    def look() -> Any:
        job = client.fine_tuning.jobs.retrieve(job_id)
        return job if _running(job) and job.status == "succeeded" else None

    job = found(look, END_S, f"{job_id} did not end", 0.5)
    if not job.fine_tuned_model:
        raise StepFailed(f"{job_id} succeeded without a model")
    walk.tuned[name] = job.fine_tuned_model
    losses = _losses(job_id)
    quarter = max(1, len(losses) // 4)
    first, last = fmean(losses[:quarter]), fmean(losses[-quarter:])
    if last >= first:
        raise StepFailed(f"the loss did not fall: {first:.3f} in the first quarter, {last:.3f} in the last")
    return Shown(
        job_id,
        {
            "steps": len(losses), "loss_first_quarter": round(first, 4), "loss_last_quarter": round(last, 4),
            "trained_tokens": job.trained_tokens, "waited_ms": ms_since(begin),
        },
        {"job": job_id, "model": job.fine_tuned_model, "tenant": tenant},
    )  # fmt: skip


def _losses(job_id: str) -> list[float]:
    """The training loss of each step once: a step that was trained again after a kill counts as trained last."""
    rows = JobEvent.objects.filter(job=job_id, type="metrics").order_by("seq").values_list("data", flat=True)
    steps = {int(data["step"]): float(data["train_loss"]) for data in rows if data and "train_loss" in data}
    return [loss for _, loss in sorted(steps.items())]
