"""Claims about fine-tunes: their rows, steps, loss and attempts, and that what they made is whole and theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from statistics import fmean
from typing import Any

from ops.cli.demo_check.evidence import Evidence, manifest_faults

FROM_STEP = re.compile(r"from step (\d+)")
CLOSE = 0.001


def one_job_only(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """What was refused left no job behind: the tenant has the one that was accepted."""
    count = len(evidence.all("SELECT 1 FROM training_job WHERE tenant_id = %s", shown["tenant"]))
    if count != 1:
        yield f"{shown['tenant']} has {count} fine-tunes"
    if not 400 <= measured["status"] < 500:
        yield f"answered with {measured['status']}"


def begun(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The job is the tenant's, on that base, with that seed, and logged the loss it is said to have begun with."""
    row = evidence.one(
        "SELECT j.*, m.name AS base FROM training_job j JOIN registry_modelversion m ON m.id = j.base_id WHERE j.id = %s",
        shown["job"],
    )
    if row is None or (row["tenant_id"], row["base"], row["seed"]) != (shown["tenant"], shown["base"], shown["seed"]):
        yield f"{shown['job']} is not {shown['tenant']}'s fine-tune of {shown['base']}"
    steps = _steps(evidence, shown["job"])
    if not steps or abs(steps[0]["train_loss"] - measured["first_loss"]) > CLOSE:
        yield "its first logged loss is another"


def went_on(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """A second attempt under a higher fence, begun from a checkpoint of the first and not from nothing."""
    job = evidence.one("SELECT fence FROM training_job WHERE id = %s", shown["job"])
    first, second = measured["fences"]
    if job is None or not 0 < first < second <= job["fence"]:
        yield f"the fences {first} and {second} are not two attempts at {shown['job']}"
    saved = evidence.one("SELECT * FROM training_checkpoint WHERE id = %s", shown["checkpoint"])
    if saved is None or (saved["job_id"], saved["fence"], saved["step"]) != (
        shown["job"], first, measured["killed_after_step"],
    ):  # fmt: skip
        yield f"{shown['checkpoint']} is no checkpoint of the first attempt at step {measured['killed_after_step']}"
    told = evidence.all("SELECT message FROM training_jobevent WHERE job_id = %s ORDER BY seq", shown["job"])
    resumed = [int(match.group(1)) for row in told if (match := FROM_STEP.search(row["message"]))]
    if measured["went_on_from_step"] not in resumed or measured["went_on_from_step"] < measured["killed_after_step"]:
        yield f"no event tells that it went on from step {measured['went_on_from_step']}"
    for fence in (first, second):
        if not (evidence.data_dir / "jobs" / shown["job"] / "attempts" / str(fence)).is_dir():
            yield f"attempt {fence} left no folder"


def ended(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Succeeded with a falling loss; its adapter is whole on the disk and made of what it says it was made of."""
    job = evidence.one("SELECT * FROM training_job WHERE id = %s", shown["job"])
    if job is None or (job["status"], job["tenant_id"]) != ("succeeded", shown["tenant"]):
        yield f"{shown['job']} is no fine-tune of {shown['tenant']} that succeeded"
        return
    if job["trained_tokens"] != measured["trained_tokens"] or not job["trained_tokens"]:
        yield f"it trained {job['trained_tokens']} tokens, the report says {measured['trained_tokens']}"
    yield from _loss_faults(measured, shown["job"], evidence)
    adapter = evidence.one("SELECT * FROM registry_adapter WHERE id = %s", job["adapter_id"])
    if adapter is None or (adapter["name"], adapter["tenant_id"]) != (shown["model"], shown["tenant"]):
        yield f"its adapter is not {shown['model']}"
        return
    yield from _adapter_faults(job, adapter, evidence)


def _loss_faults(measured: dict[str, Any], job: str, evidence: Evidence) -> Iterator[str]:
    losses = [step["train_loss"] for step in _steps(evidence, job)]
    quarter = max(1, len(losses) // 4)
    if len(losses) < 8 or len(losses) != measured["steps"]:
        yield f"{len(losses)} steps were logged, the report says {measured['steps']}"
        return
    first, last = fmean(losses[:quarter]), fmean(losses[-quarter:])
    if last >= first:
        yield f"the logged loss does not fall: {first:.3f}, {last:.3f}"
    if abs(first - measured["loss_first_quarter"]) > CLOSE or abs(last - measured["loss_last_quarter"]) > CLOSE:
        yield f"the logged loss fell from {first:.4f} to {last:.4f}"


def _adapter_faults(job: dict[str, Any], adapter: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    folder = evidence.inside(adapter["path"])
    if folder is None:
        yield f"{adapter['path']} is outside of the data directory"
        return
    yield from manifest_faults(folder, adapter["digest"])
    if not (folder / "adapter_model.safetensors").is_file():
        yield "the adapter has no weights"
    made_of = evidence.one(
        "SELECT d.digest AS dataset_digest, m.digest AS base_digest FROM training_dataset d, registry_modelversion m"
        " WHERE d.file_id = %s AND m.id = %s",
        job["training_file_id"], job["base_id"],
    )  # fmt: skip
    for name, value in (made_of or {"dataset_digest": None}).items():
        if adapter["lineage"].get(name) != value:
            yield f"the adapter's lineage has another {name}"


def _steps(evidence: Evidence, job: str) -> list[dict[str, Any]]:
    """The logged training steps in their order; of a step that was trained twice, the later."""
    rows = evidence.all(
        "SELECT data FROM training_jobevent WHERE job_id = %s AND type = 'metrics' AND data ? 'train_loss' ORDER BY seq",
        job,
    )
    steps = {row["data"]["step"]: row["data"] for row in rows}
    return [steps[number] for number in sorted(steps)]
