"""Batches as rows. Whoever holds the lease works on one; every write carries the holder's fence."""

from __future__ import annotations

import secrets
import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from appliance.batches.states import BatchStatus
from appliance.tenants.models import ApiKey, Tenant
from appliance.training.models import StoredFile


def batch_id() -> str:
    return f"batch_{secrets.token_hex(12)}"


class Batch(models.Model):
    """A file of requests, how far they are, and the files of answers. `note` says what the work waits for."""

    id = models.CharField(primary_key=True, max_length=40, default=batch_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="batches", verbose_name=_("tenant"))
    key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    input_file = models.ForeignKey(StoredFile, on_delete=models.PROTECT, related_name="batches")
    output_file = models.ForeignKey(StoredFile, null=True, on_delete=models.PROTECT, related_name="+")
    error_file = models.ForeignKey(StoredFile, null=True, on_delete=models.PROTECT, related_name="+")
    endpoint = models.CharField(_("endpoint"), max_length=32)
    model = models.CharField(_("model"), max_length=200, blank=True)
    completion_window = models.CharField(max_length=8, default="24h")
    metadata = models.JSONField(null=True)
    status = models.CharField(_("state"), max_length=16, default=BatchStatus.VALIDATING.value)
    errors = models.JSONField(default=list)
    note = models.CharField(max_length=300, blank=True)
    num_lines = models.PositiveIntegerField(default=0)
    num_completed = models.PositiveIntegerField(default=0)
    num_failed = models.PositiveIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    cached_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    internal_keys = ArrayField(models.UUIDField(), default=list)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"))
    in_progress_at = models.DateTimeField(null=True)
    finalizing_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    expired_at = models.DateTimeField(null=True)
    cancelling_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    fence = models.PositiveIntegerField(default=0)
    lease_holder = models.CharField(max_length=80, blank=True)
    lease_expires_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at",)
        indexes = [
            models.Index(fields=("tenant", "-created_at")),
            models.Index(fields=("status", "created_at")),
        ]

    def __str__(self) -> str:
        return self.id


def new_holder() -> str:
    """A name that no other claim has."""
    return uuid.uuid4().hex
