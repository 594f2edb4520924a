"""Files, datasets, sign-offs, jobs, events, checkpoints, evaluations, approvals, erasures.

The row is the truth; a queue message is a wake-up.
"""

from __future__ import annotations

import secrets
import uuid

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from appliance.registry.models import Adapter, ModelVersion
from appliance.tenants.models import AdapterPolicy, ApiKey, Tenant, User
from finetune.job import JobStatus


def file_id() -> str:
    return f"file-{secrets.token_hex(12)}"


def job_id() -> str:
    return f"ftjob-{secrets.token_hex(12)}"


def event_id() -> str:
    return f"ftevent-{secrets.token_hex(12)}"


class StoredFile(models.Model):
    """What a tenant uploaded. Its bytes lie below the tenant's own folder, named by their SHA-256."""

    class Status(models.TextChoices):
        """`processed` once a dataset was made of it; `error` with the reason in `status_details`."""

        UPLOADED = "uploaded", _("uploaded")
        PROCESSED = "processed", _("processed")
        ERROR = "error", _("refused")

    id = models.CharField(primary_key=True, max_length=40, default=file_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="files", verbose_name=_("tenant"))
    key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    purpose = models.CharField(_("purpose"), max_length=32)
    filename = models.CharField(_("file name"), max_length=255)
    bytes = models.PositiveBigIntegerField(_("size"))
    sha256 = models.CharField(max_length=64)
    status = models.CharField(_("state"), max_length=16, choices=Status, default=Status.UPLOADED)
    status_details = models.TextField(_("reason"), blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(_("uploaded"), auto_now_add=True)
    deleted_at = models.DateTimeField(_("deleted"), null=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.id


class Dataset(models.Model):
    """A file after cleaning: its rows on disk, its digest, and the report of what was dropped and replaced."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    file = models.OneToOneField(StoredFile, on_delete=models.CASCADE, related_name="dataset")
    kind = models.CharField(_("kind"), max_length=16)
    path = models.CharField(_("path"), max_length=500)
    digest = models.CharField(_("digest"), max_length=64)
    rows = models.PositiveIntegerField(_("rows"))
    report = models.JSONField(_("report"))
    created_at = models.DateTimeField(_("made"), auto_now_add=True)

    def __str__(self) -> str:
        return self.digest[:12]


class Job(models.Model):
    """A fine-tune. Whoever holds the lease works on it; every write carries the holder's fence."""

    id = models.CharField(primary_key=True, max_length=40, default=job_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="jobs", verbose_name=_("tenant"))
    key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    requested_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    base = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="jobs", verbose_name=_("base"))
    training_file = models.ForeignKey(StoredFile, on_delete=models.PROTECT, related_name="+")
    validation_file = models.ForeignKey(StoredFile, null=True, on_delete=models.PROTECT, related_name="+")
    suffix = models.CharField(_("suffix"), max_length=64, blank=True)
    seed = models.BigIntegerField(_("seed"))
    hyperparameters = models.JSONField(default=dict)
    metadata = models.JSONField(default=dict)
    policy = models.CharField(max_length=8, choices=AdapterPolicy)
    status = models.CharField(_("state"), max_length=20, default=JobStatus.VALIDATING.value)
    error = models.JSONField(null=True)
    plan = models.JSONField(null=True, help_text="what its newest attempt was reckoned to take")
    adapter = models.OneToOneField(Adapter, null=True, on_delete=models.SET_NULL, related_name="job")
    trained_tokens = models.PositiveBigIntegerField(_("trained tokens"), null=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    failures = models.PositiveSmallIntegerField(default=0)
    fence = models.PositiveIntegerField(default=0)
    device_s = models.FloatField(default=0.0, help_text="seconds for which its attempts held a device")
    lease_holder = models.CharField(max_length=80, blank=True)
    lease_expires_at = models.DateTimeField(null=True)
    box = models.CharField(
        max_length=20, blank=True, default="", help_text="where its newest attempt is; empty: at home"
    )

    class Meta:
        ordering = ("-created_at",)
        indexes = [models.Index(fields=("tenant", "-created_at"))]

    def __str__(self) -> str:
        return self.id


class Signoff(models.Model):
    """A person's word that they read a file's data report. It holds for one digest: another report needs another one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    file = models.ForeignKey(StoredFile, on_delete=models.PROTECT, related_name="signoffs")
    report_digest = models.CharField(_("digest of the report"), max_length=64)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    comment = models.TextField(_("comment"), blank=True)
    at = models.DateTimeField(_("signed off"), auto_now_add=True)
    revoked_at = models.DateTimeField(_("taken back"), null=True)
    revoked_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    jobs = models.ManyToManyField(Job, related_name="signoffs", help_text="the fine-tunes that went on by it")

    class Meta:
        ordering = ("-at",)
        constraints = [
            models.UniqueConstraint(
                fields=("file", "report_digest"), condition=models.Q(revoked_at=None), name="one_standing_signoff"
            )
        ]

    def __str__(self) -> str:
        return f"{self.report_digest[:12]} by {self.user}"


class JobEvent(models.Model):
    """One line of a job's story: a message, or the metrics of a training step."""

    seq = models.BigAutoField(primary_key=True)
    id = models.CharField(max_length=40, unique=True, default=event_id, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    created_at = models.DateTimeField(db_default=Now(), editable=False)  # boxes' own clocks differ
    level = models.CharField(max_length=8, default="info")
    type = models.CharField(max_length=8, default="message")
    message = models.TextField()
    data = models.JSONField(null=True)

    class Meta:
        ordering = ("seq",)

    def __str__(self) -> str:
        return self.message


class Checkpoint(models.Model):
    """A whole checkpoint that a later attempt may go on from."""

    id = models.CharField(primary_key=True, max_length=40)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="checkpoints")
    step = models.PositiveIntegerField()
    fence = models.PositiveIntegerField()
    path = models.CharField(max_length=500)
    metrics = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-step",)

    def __str__(self) -> str:
        return f"{self.job_id} step {self.step}"


class Evaluation(models.Model):
    """What an adapter's checks found before it was used, and the gate's verdict."""

    class Verdict(models.TextChoices):
        """The gate's answer. What lacks evidence does not block, and is shown."""

        PASS = "pass", _("passed")
        FAIL = "fail", _("failed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    adapter = models.OneToOneField(Adapter, on_delete=models.CASCADE, related_name="evaluation")
    verdict = models.CharField(_("verdict"), max_length=8, choices=Verdict)
    checks = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.verdict


class Approval(models.Model):
    """A person's decision on an adapter that waits for one; never the person who asked for the fine-tune."""

    adapter = models.OneToOneField(Adapter, on_delete=models.CASCADE, related_name="approval")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    approved = models.BooleanField()
    reason = models.TextField(blank=True)
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{'approved' if self.approved else 'rejected'} by {self.user}"


class ErasureState(models.TextChoices):
    """How far an erasure is. What is to be removed is written down before it is removed."""

    WAITING = "waiting", _("waiting")
    REMOVING = "removing", _("removing")
    DONE = "done", _("done")


class Erasure(models.Model):
    """A file that is removed with all that came of it. The row goes first: whoever is killed, the next sweep goes on."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="erasures", verbose_name=_("tenant"))
    file = models.OneToOneField(StoredFile, on_delete=models.PROTECT, related_name="erasure")
    state = models.CharField(_("state"), max_length=16, choices=ErasureState, default=ErasureState.WAITING)
    asked_by = models.CharField(_("by"), max_length=150)
    asked_at = models.DateTimeField(_("asked"), auto_now_add=True)
    planned = models.JSONField(default=list, help_text="what the file had led to when it was asked")
    removed = models.JSONField(default=list, help_text="what lay on the disk, with digests")
    waits_for = models.TextField(_("waits for"), blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    certificate_digest = models.CharField(_("certificate"), max_length=64, blank=True)

    class Meta:
        ordering = ("-asked_at",)

    def __str__(self) -> str:
        return str(self.id)
