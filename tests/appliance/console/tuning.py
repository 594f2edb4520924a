"""Rows of fine-tuning for the console's tests: files with datasets, jobs with their story, adapters with their checks."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from appliance.registry.models import Adapter, AdapterState, ModelVersion
from appliance.tenants.models import Tenant, User
from appliance.training import erasing
from appliance.training.events import add_event
from appliance.training.models import Dataset, Erasure, Evaluation, Job, StoredFile
from tests.waiting import wait_until

CHECKS: list[dict[str, Any]] = [
    {"name": "parity", "verdict": "pass", "blocking": True, "reason": "training and serving agree: 0.0012 on average",
     "measured": {"tokens": 12345, "mean_difference": 0.00123, "max_difference": 0.02}},
    {"name": "effect", "verdict": "pass", "blocking": True, "reason": "the adapter moves the scores", "measured": {}},
    {"name": "heldout", "verdict": "not_enough_evidence", "blocking": True, "reason": "3 rows are too few",
     "measured": {"rows": 3, "p_better": 0.125}},
    {"name": "extraction", "verdict": "fail", "blocking": True, "reason": "the adapter gave away 2 values",
     "measured": {"planted": 40, "found": 2, "rules": {"aws-key": 2}}},
    {"name": "a-new-check", "verdict": "pass", "blocking": False, "reason": "fine", "measured": {"a_new_figure": 7}},
]  # fmt: skip
REPORT: dict[str, Any] = {
    "format": 1, "filename": "train.jsonl", "kind": "chat", "rows": {"read": 1200, "kept": 1100, "ignored_fields": 0},
    "skipped": {"binary": 3}, "filters": {"lines": {"in": 1200, "kept": 1150, "dropped": {"long lines": 50}}},
    "duplicates": {"exact_dropped": 30, "near": 20, "near_dropped": 0, "near_threshold": 0.85},
    "order": "imports", "clusters": {"clusters": 950, "alone": 870, "largest": 12},
    "left_out_by_cleaning": {}, "replacements": {"aws-access-key": {"replacements": 9, "distinct": 2}},
    "samples": [{"row": 17, "rule": "aws-access-key", "placeholder": "X1", "text": "key = CODERACK_X1\nprint(key)"}],
    "residual": [{"row": 3, "why": "looks random", "text": "abcdef0123456789abcdef"}],
    "limits": "No tool finds everything.", "versions": {"datasketch": "1.6.5"},
}  # fmt: skip


def base(name: str = "tiny-base") -> ModelVersion:
    """A model to fine-tune."""
    return ModelVersion.objects.get_or_create(
        name=name, defaults={"path": "/models/tiny", "digest": "ef" * 32, "max_model_len": 8192}
    )[0]


def upload(tenant: Tenant, filename: str = "train.jsonl", **more: object) -> StoredFile:
    """A file that was just uploaded."""
    fields: dict[str, Any] = {"purpose": "fine-tune", "bytes": 4096, "sha256": "12" * 32}
    return StoredFile.objects.create(tenant=tenant, filename=filename, **{**fields, **more})


def clean(file: StoredFile, folder: Path, report: dict[str, Any] | None = None) -> Dataset:
    """The dataset of a file, its report on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text("<h1>Data report</h1>")
    StoredFile.objects.filter(pk=file.pk).update(status="processed")
    return Dataset.objects.create(
        file=file,
        kind="chat",
        path=str(folder),
        digest="34" * 32,
        rows=1100,
        report=REPORT if report is None else report,
    )


def erased(tenant: Tenant) -> Erasure:
    """A file that was erased, with its certificate."""
    erasure = erasing.begin(upload(tenant, sha256=secrets.token_hex(32)))
    wait_until(
        lambda: erasing.go_on(erasure).finished_at, timeout_s=120
    )  # a running appliance's worker goes on with it, too
    return erasure


def start(tenant: Tenant, by: User | None = None, status: str = "running", **more: object) -> Job:
    """A fine-tune."""
    fields: dict[str, Any] = {
        "base": base(), "suffix": "style", "seed": 7, "policy": "approve",
        "hyperparameters": {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0},
    }  # fmt: skip
    fields |= more
    if "training_file" not in fields:
        fields["training_file"] = upload(tenant)
    return Job.objects.create(tenant=tenant, requested_by=by, status=status, **fields)


def train(job: Job, losses: list[float]) -> None:
    """Metrics of as many steps."""
    for step, value in enumerate(losses, start=1):
        add_event(job.pk, f"step {step}: loss {value:.4f}", data={"step": step, "train_loss": value})


def finish(job: Job, state: str = AdapterState.WAITING, name: str = "") -> Adapter:
    """The adapter of a job, evaluated."""
    adapter = Adapter.objects.create(
        name=name or f"ft:{job.base.name}:{job.tenant_id}:style:{job.pk[-8:]}", tenant=job.tenant, base=job.base,
        path="/adapters/1", digest="56" * 32, rank=16, target_modules=["q_proj"], state=state,
    )  # fmt: skip
    Job.objects.filter(pk=job.pk).update(adapter=adapter, status="succeeded")
    Evaluation.objects.create(adapter=adapter, verdict="pass", checks=CHECKS)
    return adapter
