"""Tenants' files: stored by content below the tenant's own folder, within the plan's limits, each removed for good.

What is in them is finetune.data's to read; nothing here looks further than its quick validation.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from appliance.audit.record import record
from appliance.batches.states import TERMINAL as OVER
from appliance.tenants.models import ApiKey, Tenant
from appliance.training.errors import FileInUse, FileRefused
from appliance.training.models import Job, StoredFile
from appliance.training.wake import wake_prepare
from finetune.data.validate import check_quickly
from finetune.files import sync_directory
from finetune.job import TERMINAL

# What may be uploaded, and how such a file's name ends.
SUFFIXES = {"fine-tune": (".jsonl", ".tar.gz", ".tgz", ".zip", ".bundle"), "batch": (".jsonl",)}
PURPOSES = tuple(SUFFIXES)
KEPT_PURPOSES = (*PURPOSES, "batch_output")  # and what the appliance itself makes
QUICK_CHECK_BYTES = 32 * 1024 * 1024  # larger files are validated by the worker
FREE_BYTES = 1 << 30  # the disk keeps at least this much for everybody's journals and database
FAULTS_SHOWN = 5


def tenant_dir(tenant_id: str) -> Path:
    """The folder of a tenant's uploads."""
    return Path(settings.ENV.data_dir) / "files" / tenant_id


def path(file: StoredFile) -> Path:
    """Where a file's bytes lie."""
    return tenant_dir(file.tenant_id) / file.sha256


def dataset_dir(file: StoredFile) -> Path:
    """Where what cleaning makes of a file lies."""
    return Path(settings.ENV.data_dir) / "datasets" / file.tenant_id / file.pk


def store(tenant: Tenant, key: ApiKey | None, purpose: str, filename: str, chunks: Iterable[bytes]) -> StoredFile:
    """Take an upload in, streamed; nothing is kept of one that is refused.

    Raises: FileRefused with the field and the reason.
    """
    if purpose not in PURPOSES:
        raise FileRefused(f"purpose must be one of: {', '.join(PURPOSES)}.", "purpose")
    name = _checked_name(filename, purpose)
    if StoredFile.objects.filter(tenant=tenant, deleted_at=None).count() >= tenant.plan.max_files:
        raise FileRefused(f"The plan keeps {tenant.plan.max_files} files; delete one first.", "file", "too_many_files")
    folder = tenant_dir(tenant.pk)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".upload-") as incoming:
        size, digest = _receive(incoming, chunks, tenant.plan.max_file_bytes, folder)
        row = StoredFile(tenant=tenant, key=key, purpose=purpose, filename=name, bytes=size, sha256=digest)
        if purpose == "fine-tune":
            _check_contents(Path(incoming.name), name, size)
        else:
            row.status = StoredFile.Status.PROCESSED  # nothing is cleaned; a batch checks its own lines
        return keep(Path(incoming.name), row)


def delete(file: StoredFile) -> None:
    """Remove a file, its dataset and its bytes; jobs that are over keep its id.

    Raises: FileInUse while a fine-tune or a batch that is not over needs it.
    """
    with transaction.atomic():
        row = StoredFile.objects.select_for_update().get(pk=file.pk)
        using = Job.objects.filter(training_file=row) | Job.objects.filter(validation_file=row)
        busy = using.exclude(status__in=[status.value for status in TERMINAL]).first()
        if busy is not None:
            raise FileInUse(f"The fine-tune {busy.pk} still needs this file; cancel it first.", "file_id")
        batch = row.batches.exclude(status__in=[status.value for status in OVER]).first()
        if batch is not None:
            raise FileInUse(f"The batch {batch.pk} still needs this file; cancel it first.", "file_id")
        dataset = getattr(row, "dataset", None)
        if dataset is not None:
            transaction.on_commit(lambda: shutil.rmtree(dataset.path, ignore_errors=True))
            dataset.delete()
        row.deleted_at = timezone.now()
        row.save(update_fields=("deleted_at",))
        transaction.on_commit(lambda: drop_bytes(row))
        record("file.delete", row.pk, tenant=row.tenant_id, details={"filename": row.filename, "sha256": row.sha256})


def drop_leftovers(row: StoredFile) -> None:
    """Remove what a deleted file left on the disk, in case the process that deleted it was killed."""
    if path(row).exists():
        drop_bytes(row)
    shutil.rmtree(dataset_dir(row), ignore_errors=True)


def drop_bytes(row: StoredFile) -> None:
    """Remove the bytes that no row needs; under the lock, so that no upload of the same ones comes in between."""
    with transaction.atomic():
        _lock_bytes(row)
        if not StoredFile.objects.filter(tenant_id=row.tenant_id, sha256=row.sha256, deleted_at=None).exists():
            path(row).unlink(missing_ok=True)


def _lock_bytes(row: StoredFile) -> None:
    Tenant.objects.select_for_update(no_key=True).get(pk=row.tenant_id)


def _checked_name(filename: str, purpose: str) -> str:
    name = PurePosixPath(filename.replace("\\", "/")).name
    if not name or len(name) > 255 or not name.isprintable():
        raise FileRefused("The file needs a plain name of at most 255 characters.", "file")
    if not name.lower().endswith(SUFFIXES[purpose]):
        use = "fine-tuning" if purpose == "fine-tune" else "a batch"
        raise FileRefused(f"A file for {use} ends in {', '.join(SUFFIXES[purpose])}; this one is {name!r}.", "file")
    return name


def _receive(incoming: IO[bytes], chunks: Iterable[bytes], limit: int, folder: Path) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise FileRefused(f"The plan's files have at most {limit} bytes.", "file", "file_too_large")
        if shutil.disk_usage(folder).free < FREE_BYTES + len(chunk):
            raise FileRefused("The appliance's disk is nearly full; tell its operator.", "file", "disk_full")
        digest.update(chunk)
        incoming.write(chunk)
    if size == 0:
        raise FileRefused("The file is empty.", "file")
    incoming.flush()
    os.fsync(incoming.fileno())
    return size, digest.hexdigest()


def _check_contents(received: Path, name: str, size: int) -> None:
    if size > QUICK_CHECK_BYTES:
        return
    faults = check_quickly(received, name)
    if faults:
        more = f" … and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise FileRefused("; ".join(faults[:FAULTS_SHOWN]) + more, "file", "invalid_training_file")


def keep(received: Path, row: StoredFile) -> StoredFile:
    """Give bytes that are on the disk their final name and register them.

    Bytes first, then the row: a crash in between leaves bytes without a row, never a row without bytes.
    """
    with transaction.atomic():
        _lock_bytes(row)
        with contextlib.suppress(FileExistsError):  # the same bytes were uploaded before
            os.link(received, path(row))
        sync_directory(path(row).parent)  # what the bytes were made of may be removed once the row is there
        row.save(force_insert=True)
        if row.purpose == "fine-tune":
            transaction.on_commit(lambda: wake_prepare(row.pk))
    return row
