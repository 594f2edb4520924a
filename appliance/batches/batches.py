"""Batches as tenants ask for them: taken in, and cancelled by compare-and-set. Working on them is `work`'s."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from appliance.audit.record import record
from appliance.batches.errors import BatchRefused
from appliance.batches.lines import ENDPOINTS
from appliance.batches.models import Batch
from appliance.batches.states import TERMINAL, BatchStatus, may_move
from appliance.tenants.models import ApiKey, Tenant
from appliance.training.models import StoredFile

WINDOW = timedelta(hours=24)
WINDOWS = ("24h",)
MOST_OPEN = 20  # batches of a tenant that are not over
MAX_METADATA = 16


def create(
    key: ApiKey, *, input_file: str, endpoint: str, completion_window: str, metadata: Mapping[str, str] | None = None
) -> Batch:
    """Take a batch in; its file is looked at afterwards.

    Raises: BatchRefused naming the parameter.
    """
    tenant = key.tenant
    if endpoint not in ENDPOINTS:
        raise BatchRefused(f"endpoint must be one of: {', '.join(ENDPOINTS)}.", "endpoint")
    if completion_window not in WINDOWS:
        raise BatchRefused("completion_window must be 24h.", "completion_window")
    _check_metadata(metadata or {})
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(
            pk=tenant.pk
        )  # two requests must not both take the last place
        file = _file(tenant, input_file)
        _check_room(tenant)
        over = [status.value for status in TERMINAL]
        if Batch.objects.filter(tenant=tenant).exclude(status__in=over).count() >= MOST_OPEN:
            raise BatchRefused(f"A tenant has {MOST_OPEN} batches at once; wait for one.", None, "too_many_batches")
        batch = Batch.objects.create(
            tenant=tenant, key=key, input_file=file, endpoint=endpoint, completion_window=completion_window,
            metadata=None if metadata is None else dict(metadata), expires_at=timezone.now() + WINDOW,
        )  # fmt: skip
        record("batch.create", batch.pk, tenant=tenant.pk, details={"input_file": file.pk, "endpoint": endpoint})
    return batch


def _file(tenant: Tenant, file_id: str) -> StoredFile:
    # locked, so that it is not deleted before the batch is there
    file = StoredFile.objects.select_for_update().filter(tenant=tenant, pk=file_id, deleted_at=None).first()
    if file is None:
        raise BatchRefused("There is no such file.", "input_file_id", "file_not_found")
    if file.purpose != "batch":
        raise BatchRefused(f"{file_id} was uploaded for {file.purpose}, not for batch.", "input_file_id")
    return file


def _check_room(tenant: Tenant) -> None:
    # files of answers are made over the plan's number, but not without end
    if StoredFile.objects.filter(tenant=tenant, deleted_at=None).count() > tenant.plan.max_files:
        message = f"The plan keeps {tenant.plan.max_files} files, answers of batches included; delete some first."
        raise BatchRefused(message, None, "too_many_files")


def _check_metadata(metadata: Mapping[str, str]) -> None:
    fine = all(len(name) <= 64 and len(value) <= 512 for name, value in metadata.items())
    if len(metadata) > MAX_METADATA or not fine:
        raise BatchRefused("metadata holds at most 16 names of 64 and texts of 512 characters.", "metadata")


def cancel(batch: Batch) -> Batch:
    """Have a batch end early: what runs is waited for, and what was answered is in its output file. Said twice, once.

    Raises: BatchRefused when it is over.
    """
    with transaction.atomic():
        row = Batch.objects.select_for_update(of=("self",)).get(pk=batch.pk)
        seen = BatchStatus(row.status)
        if seen is not BatchStatus.CANCELLING:
            if not may_move(seen, BatchStatus.CANCELLING):
                raise BatchRefused(f"{row.pk} is {seen.value} and can't be cancelled.", "batch_id")
            Batch.objects.filter(pk=row.pk).update(status=BatchStatus.CANCELLING.value, cancelling_at=Now())
            record("batch.cancel", row.pk, tenant=row.tenant_id)
    row.refresh_from_db()
    return row
