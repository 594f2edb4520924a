"""The cast of the training tests: two tenants, their people, an operator, a served base model, files and jobs."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from appliance.fleet.models import Deployment
from appliance.registry.models import Adapter, AdapterState, ModelVersion
from appliance.tenants.models import ApiKey, Tenant, User
from appliance.training.models import Job, StoredFile
from appliance.training.rows import SCORES
from appliance.training.training import job_dir
from finetune.job import JobStatus

BASE = "smollm2"
ROWS = b'{"messages": [{"role": "user", "content": "What is 1+1?"}, {"role": "assistant", "content": "Two."}]}\n' * 3


@dataclass(frozen=True)
class Cast:
    """Acme has two owners and a developer, who made the key; the rival owns another tenant, the stranger none."""

    acme: Tenant
    rivals: Tenant
    operator: User
    owner: User
    other_owner: User
    developer: User
    rival: User
    stranger: User
    key: ApiKey
    rival_key: ApiKey
    deployment: Deployment

    @property
    def base(self) -> ModelVersion:
        return self.deployment.model

    def file(self, tenant: Tenant | None = None, **fields: Any) -> StoredFile:
        """A file's row, without bytes."""
        values: dict[str, Any] = {
            "purpose": "fine-tune", "filename": "rows.jsonl", "bytes": len(ROWS), "sha256": secrets.token_hex(32),
        }  # fmt: skip
        return StoredFile.objects.create(tenant=tenant or self.acme, **{**values, **fields})

    def job(self, status: JobStatus = JobStatus.QUEUED, **fields: Any) -> Job:
        """A job's row, as if it had come this far."""
        values: dict[str, Any] = {
            "tenant": self.acme,
            "key": self.key,
            "requested_by": self.developer,
            "policy": "auto",
        }
        training = fields.pop("training_file", None) or self.file()
        return Job.objects.create(
            base=self.base, training_file=training, seed=1, status=status.value, **{**values, **fields}
        )

    def adapter(self, state: AdapterState = AdapterState.WAITING, **fields: Any) -> Adapter:
        """An adapter's row in some state."""
        name = f"ft:{BASE}:acme:tuned:{secrets.token_hex(4)}"
        values: dict[str, Any] = {"name": name, "tenant": self.acme, "path": "/adapters/a", "rank": 16}
        return Adapter.objects.create(base=self.base, digest=digest(name), state=state, **{**values, **fields})


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def expire(job: Job) -> None:
    """Let the job's lease have run out a moment ago, by the database's clock."""
    Job.objects.filter(pk=job.pk).update(lease_expires_at=Now() - timedelta(milliseconds=1))


def make_scores(job: Job, adapter: Adapter) -> None:
    """What a job keeps of its adapter's scores."""
    place = job_dir(job.pk) / SCORES / f"{adapter.digest}.json"
    place.parent.mkdir(parents=True)
    place.write_text("[]")
