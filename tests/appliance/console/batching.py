"""Batches for the console's tests, as rows and files."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from django.utils import timezone

from appliance.batches.models import Batch
from appliance.tenants.keys import mint
from appliance.tenants.models import Tenant
from appliance.training import files
from appliance.training.models import StoredFile

TEXT = b'{"custom_id": "1"}\n'


def stored(tenant: Tenant, name: str, purpose: str = "batch") -> StoredFile:
    """A file with its bytes on the disk."""
    digest = hashlib.sha256(TEXT).hexdigest()
    row = StoredFile.objects.create(
        tenant=tenant, purpose=purpose, filename=name, bytes=len(TEXT), sha256=digest, status="processed"
    )
    files.tenant_dir(tenant.pk).mkdir(parents=True, exist_ok=True)
    files.path(row).write_bytes(TEXT)
    return row


def batch_of(tenant: Tenant, status: str = "in_progress", **fields: Any) -> Batch:
    key, _ = mint(tenant, "ci")
    values = {"num_lines": 1200, "num_completed": 300, "num_failed": 4, "model": "tiny-coder", **fields}
    return Batch.objects.create(
        tenant=tenant, key=key, input_file=stored(tenant, "requests.jsonl"), endpoint="/v1/chat/completions",
        status=status, expires_at=timezone.now() + timedelta(hours=24), **values,
    )  # fmt: skip
