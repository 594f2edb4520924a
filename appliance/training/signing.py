"""Sign-offs: a person has read what cleaning left in a dataset and answers for training on it.

A sign-off holds for the digest of one report, which covers the rows: data that changes needs a new one. Until a fine-tune has
gone on by it, it can be taken back. Whether fine-tunes wait for one is each tenant's rule; what was signed is kept either way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from appliance.audit.record import record
from appliance.tenants.models import Membership, User
from appliance.training import lease
from appliance.training.errors import NotSigned, SignoffRefused
from appliance.training.events import add_event
from appliance.training.models import Dataset, Job, Signoff, StoredFile
from appliance.training.wake import wake_job
from finetune.job import JobStatus

MAX_COMMENT = 2000
WAITING = (JobStatus.VALIDATING.value, JobStatus.QUEUED.value)


def report_digest(dataset: Dataset) -> str:
    """SHA-256 of the report together with the digest of the rows that it is about."""
    content = {"dataset": dataset.digest, "report": dataset.report}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def standing(dataset: Dataset) -> Signoff | None:
    """The sign-off that holds for this dataset as it is now."""
    found = Signoff.objects.filter(file=dataset.file_id, report_digest=report_digest(dataset), revoked_at=None)
    return found.select_related("user", "revoked_by").first()


def may_sign(file: StoredFile, user: User) -> bool:
    """Operators, and the owners of the file's tenant."""
    owner = Membership.objects.filter(user=user, tenant_id=file.tenant_id, role=Membership.Role.OWNER)
    return user.is_active and (user.is_staff or owner.exists())


def sign(file: StoredFile, user: User, digest: str, comment: str = "") -> Signoff:
    """Sign off the report with this digest, which is the one that the person read; fine-tunes that wait for it go on.

    Raises: SignoffRefused.
    """
    _must_be_allowed(file, user)
    comment = (
        comment.replace("\r\n", "\n").replace("\x00", "").strip()
    )  # as a browser sends it, and PostgreSQL takes it
    if len(comment) > MAX_COMMENT:
        raise SignoffRefused(f"A comment has at most {MAX_COMMENT} characters.")
    try:
        with transaction.atomic():
            row = StoredFile.objects.select_for_update().get(pk=file.pk)
            dataset = Dataset.objects.filter(file=row).first()
            if dataset is None or row.deleted_at is not None:
                raise SignoffRefused(f"{file.pk} has no data report to sign off.")
            if digest != report_digest(dataset):
                raise SignoffRefused(f"The data report of {file.pk} is another one by now; read it again.")
            signoff = Signoff.objects.create(file=row, report_digest=digest, user=user, comment=comment)
            _tell(row, f"the data report of {row.filename} was signed off by {user.username}")
            details = {"person": user.username, "report": digest, "dataset": dataset.digest, "comment": comment}
            record("data.signoff", row.pk, tenant=row.tenant_id, details=details)
    except IntegrityError:
        raise SignoffRefused(f"The data report of {file.pk} is signed off already.") from None
    return signoff


def revoke(file: StoredFile, user: User) -> Signoff:
    """Take back the sign-off of a file's report, as long as no fine-tune has gone on by it.

    Raises: SignoffRefused.
    """
    _must_be_allowed(file, user)
    dataset = Dataset.objects.filter(file=file).first()
    known = None if dataset is None else standing(dataset)
    with transaction.atomic():
        row = (
            None if known is None else Signoff.objects.select_for_update().filter(pk=known.pk, revoked_at=None).first()
        )
        if row is None:
            raise SignoffRefused(f"The data report of {file.pk} is not signed off.")
        used_by = row.jobs.order_by("created_at").first()
        if used_by is not None:
            raise SignoffRefused(f"{used_by.pk} trained on this data by the sign-off: it can't be taken back any more.")
        row.revoked_at, row.revoked_by = timezone.now(), user
        row.save(update_fields=("revoked_at", "revoked_by"))
        details = {"person": user.username, "report": row.report_digest}
        record("data.revoke_signoff", file.pk, tenant=file.tenant_id, details=details)
    return row


def unsigned(job: Job) -> list[StoredFile]:
    """The job's files whose reports somebody has to sign off before it goes on; files that are not cleaned yet are none."""
    if not job.tenant.needs_signoff:
        return []
    files = [file for file in (job.training_file, job.validation_file) if file is not None]
    datasets = {row.file_id: row for row in Dataset.objects.filter(file__in=files)}
    missing = [file for file in files if file.pk in datasets and standing(datasets[file.pk]) is None]
    return [file for file in missing if job.status in WAITING or _changed_under(job, file)]


def _changed_under(job: Job, file: StoredFile) -> bool:
    """Whether a job that trains already went on by a sign-off of other data: the file was cleaned anew meanwhile."""
    return job.status == JobStatus.RUNNING.value and job.signoffs.filter(file=file).exists()


def use(job: Job, fence: int, datasets: Iterable[Dataset]) -> None:
    """Note the sign-offs that a job goes on by, after which they stand for good.

    Raises: NotSigned where the tenant wants one that is not there; LeaseLost.
    """
    job.tenant.refresh_from_db(fields=("needs_signoff",))  # cleaning may have taken hours
    missing = unsigned(job)
    if missing:
        raise NotSigned(words(missing))
    known = [found.pk for dataset in datasets if (found := standing(dataset)) is not None]
    with lease.holding(job.pk, fence):
        rows = list(Signoff.objects.select_for_update().filter(pk__in=known, revoked_at=None).order_by("pk"))
        if len(rows) < len(known) and job.tenant.needs_signoff and job.status in WAITING:
            raise NotSigned("a sign-off was taken back a moment ago")
        job.signoffs.add(*rows)


def words(files: list[StoredFile]) -> str:
    """What a job waits for, for its story."""
    names = " and ".join(f"{file.filename} ({file.pk})" for file in files)
    return f"a person to read and sign off the data report of {names}"


def facts(signoff: Signoff) -> dict[str, Any]:
    """A sign-off as the API, the CLI and an adapter's lineage show it."""
    return {
        "file": signoff.file_id, "report_digest": signoff.report_digest, "by": signoff.user.username,
        "at": int(signoff.at.timestamp()), "comment": signoff.comment,
    }  # fmt: skip


def of_job(job: Job) -> list[dict[str, Any]]:
    """The sign-offs that a job went on by, oldest first."""
    return [facts(row) for row in sorted(job.signoffs.all(), key=lambda row: row.at)]  # lists fetch them before


def lineage(job: Job) -> list[dict[str, Any]]:
    """Those of the data as it is, for an adapter, which outlives it: without the comments."""
    datasets = Dataset.objects.filter(file__in=[file for file in (job.training_file, job.validation_file) if file])
    now = {(row.file_id, report_digest(row)) for row in datasets}
    entries = [entry for entry in of_job(job) if (entry["file"], entry["report_digest"]) in now]
    return [{name: value for name, value in entry.items() if name != "comment"} for entry in entries]


def _must_be_allowed(file: StoredFile, user: User) -> None:
    if not may_sign(file, user):
        raise SignoffRefused("Only operators and the tenant's owners sign off its data.")


def _tell(file: StoredFile, message: str) -> None:
    """Note it with every fine-tune that waits, and wake it."""
    waiting = Job.objects.filter(Q(training_file=file) | Q(validation_file=file), status__in=WAITING)
    for job_id in waiting.values_list("pk", flat=True):
        add_event(job_id, message)
        transaction.on_commit(partial(wake_job, job_id))
