"""Erases a file with all that came of it: asked once, then taken as far as it goes, by whoever comes by, until it is done.

First the rows say that it is gone, then whoever uses it is stopped and waited for, then what lies on the disk is written
down with its digests, then it is removed, then that is certified. A kill anywhere is made up for by the next sweep.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from appliance.audit.actor import acting, current
from appliance.audit.record import record
from appliance.registry.models import AdapterState
from appliance.training import adapters, files, jobs
from appliance.training.erasure_certificate import certify
from appliance.training.erasure_facts import OVER, adapters_of, descent_of, jobs_of, on_disk
from appliance.training.erasure_plan import Item, Kind, holds_up, in_engines, plan
from appliance.training.errors import AdapterRefused, ErasureRefused, JobRefused
from appliance.training.models import (
    Checkpoint,
    Dataset,
    Erasure,
    ErasureState,
    Evaluation,
    JobEvent,
    Signoff,
    StoredFile,
)
from finetune.files import sync_directory
from inference import failpoints
from ops.acceptance.errors import BadSigningKey

log = logging.getLogger("coderack.training")

LOOK_BACK = timedelta(hours=1)
UNLOAD_WAIT = timedelta(minutes=10)  # an engine that has not unloaded by then is named in the certificate
CONTENT_REMOVED = "Removed with the file that this was trained on."


def planned(file: StoredFile) -> tuple[Item, ...]:
    """Everything that a file led to, each with what an erasure does to it."""
    return plan(descent_of(file))


def begin(file: StoredFile) -> Erasure:
    """Have a file erased, a deleted one too: what came of it is still there. Asked again, it is the same erasure.

    Raises: ErasureRefused for a batch's file.
    """
    if file.purpose != "fine-tune":
        raise ErasureRefused(f"{file.pk} is a batch's file: nothing is trained on it. Delete it instead.", "file_id")
    with transaction.atomic():
        row = StoredFile.objects.select_for_update().get(pk=file.pk)
        known = Erasure.objects.filter(file=row).first()
        if known is not None:
            return known
        items = planned(row)
        erasure = Erasure.objects.create(
            tenant_id=row.tenant_id, file=row, asked_by=current(), planned=[item.facts() for item in items]
        )
        if row.deleted_at is None:
            row.deleted_at = timezone.now()  # from here on nobody can begin a fine-tune on it
            row.save(update_fields=("deleted_at",))
        names = {kind: [item.name for item in items if item.kind is kind] for kind in (Kind.JOB, Kind.ADAPTER)}
        record("file.erase", row.pk, tenant=row.tenant_id, details={
            "erasure": str(erasure.pk), "filename": row.filename, "sha256": row.sha256,
            "jobs": ", ".join(names[Kind.JOB]), "adapters": ", ".join(names[Kind.ADAPTER]),
        })  # fmt: skip
    log.info("%s is erased for %s", file.pk, erasure.asked_by)
    return erasure


def go_on(erasure: Erasure) -> Erasure:
    """Take an erasure as far as it goes now; done twice, or by two at once, it gives the same."""
    with acting(erasure.asked_by):
        erasure.refresh_from_db()
        if erasure.state == ErasureState.DONE:
            return erasure
        _stop_all(erasure)
        waits = _waits_for(erasure)
        if waits:
            Erasure.objects.filter(pk=erasure.pk).exclude(state=ErasureState.DONE).update(waits_for="; ".join(waits))
        elif _write_down(erasure):
            failpoints.reach("erasure.written_down")
            _try_to_remove(erasure)
    erasure.refresh_from_db()
    return erasure


def sweep_erasures() -> None:
    """Go on with every erasure that is not done; remove what a worker that woke too late wrote after one."""
    for erasure in Erasure.objects.exclude(state=ErasureState.DONE).order_by("asked_at"):
        go_on(erasure)
    since = timezone.now() - LOOK_BACK
    for erasure in Erasure.objects.filter(state=ErasureState.DONE, finished_at__gt=since).select_related("file"):
        for late in on_disk(erasure.file):
            log.warning("%s came after the erasure of %s, and is removed", late.path, erasure.file_id)
            _drop(late.kind, Path(settings.ENV.data_dir) / late.path, erasure.file)


def _stop_all(erasure: Erasure) -> None:
    """Cancel what runs and take out of use what serves: each in its own transaction, each at most once."""
    for job in jobs_of(erasure.file).exclude(status__in=OVER):
        with suppress(JobRefused):  # it came to its end meanwhile
            jobs.cancel(job)
    for adapter in adapters_of(erasure.file):
        if adapter.state == AdapterState.CANDIDATE:
            adapters.move(adapter, AdapterState.REJECTED)
        elif adapter.state in (AdapterState.WAITING, AdapterState.ACTIVE):
            with suppress(AdapterRefused):  # somebody else was first
                adapters.withdraw(adapter)


def _waits_for(erasure: Erasure) -> tuple[str, ...]:
    descent = descent_of(erasure.file)
    waits = holds_up(descent)
    in_time = timezone.now() < erasure.asked_at + UNLOAD_WAIT
    return (*waits, *in_engines(descent)) if in_time else waits


def _held(erasure: Erasure) -> Erasure | None:
    """The erasure's row, locked; None where somebody else works on it, or it is done."""
    rows = Erasure.objects.select_for_update(skip_locked=True, of=("self",)).select_related("file")
    return rows.filter(pk=erasure.pk).exclude(state=ErasureState.DONE).first()


def _write_down(erasure: Erasure) -> bool:
    """What lies on the disk, with digests, before anything of it is removed; then the rows that had content go."""
    known = {entry["path"] for entry in erasure.removed}
    found = [one.facts() for one in on_disk(erasure.file, known) if one.path not in known]
    with transaction.atomic():
        row = _held(erasure)
        if row is None:
            return False
        before = {entry["path"] for entry in row.removed}
        row.removed = [*row.removed, *(entry for entry in found if entry["path"] not in before)]
        row.state, row.waits_for = ErasureState.REMOVING, ""
        row.save(update_fields=("removed", "state", "waits_for"))
        _empty_rows(row.file)
    return True


def _empty_rows(file: StoredFile) -> None:
    """Ids, digests, states and counts stay: they are what is billed and what the audit log names."""
    of_file = jobs_of(file)
    Dataset.objects.filter(file=file).delete()
    Signoff.objects.filter(file=file).update(comment="")
    Checkpoint.objects.filter(job__in=of_file).delete()
    JobEvent.objects.filter(job__in=of_file).delete()
    Evaluation.objects.filter(adapter__in=adapters_of(file)).delete()
    for job in of_file:
        error = None if job.error is None else {**job.error, "message": CONTENT_REMOVED}
        of_file.filter(pk=job.pk).update(metadata={}, error=error)


def _try_to_remove(erasure: Erasure) -> None:
    try:
        _remove(erasure)
    except (OSError, BadSigningKey) as error:  # a full disk, a key that others can read: the next sweep tries again
        log.error("the erasure of %s: %s", erasure.file_id, error)
        Erasure.objects.filter(pk=erasure.pk).exclude(state=ErasureState.DONE).update(waits_for=str(error))


def _remove(erasure: Erasure) -> None:
    """Remove, look again, certify. The row is locked meanwhile: nobody else removes or signs."""
    with transaction.atomic():
        row = _held(erasure)
        if row is None:
            return
        data_dir = Path(settings.ENV.data_dir)
        written = {entry["path"] for entry in row.removed}
        found = list(on_disk(row.file, written))
        for one in found:
            if one.path in written:
                _drop(one.kind, data_dir / one.path, row.file)
                failpoints.reach("erasure.removing")
        left = [one.path for one in on_disk(row.file, written)]
        if left:
            Erasure.objects.filter(pk=row.pk).update(waits_for=f"still there: {', '.join(left[:5])}")
            return
        lingering = in_engines(descent_of(row.file))
        row.certificate_digest, row.finished_at = certify(row, lingering)
        failpoints.reach("erasure.certified")
        row.state, row.waits_for = ErasureState.DONE, ""
        row.save(update_fields=("state", "waits_for", "finished_at", "certificate_digest"))
        details = {"erasure": str(row.pk), "certificate": row.certificate_digest}
        record("file.erased", row.file_id, tenant=row.tenant_id, details=details)


def _drop(kind: Kind, path: Path, file: StoredFile) -> None:
    """What can't be removed is found by the look that follows."""
    if kind is Kind.BYTES:
        files.drop_bytes(file)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        sync_directory(path.parent)
