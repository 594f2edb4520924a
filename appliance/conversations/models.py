"""Which tenants have their conversations kept, and where each record lies. No text of any of them is in the database."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from appliance.tenants.models import Tenant

MIB = 1024 * 1024
MAX_DAYS = 90
MIN_MIB, MAX_MIB = 64, 1024 * 1024


class ConversationLog(models.Model):
    """A tenant's choice. `erased_at`: what was kept before is to be gone."""

    tenant = models.OneToOneField(Tenant, primary_key=True, on_delete=models.CASCADE, related_name="conversation_log")
    is_on = models.BooleanField(default=False)
    days = models.PositiveSmallIntegerField(
        _("days"), default=30, validators=[MinValueValidator(1), MaxValueValidator(MAX_DAYS)]
    )
    max_mib = models.PositiveIntegerField(
        _("MiB at most"), default=1024, validators=[MinValueValidator(MIN_MIB), MaxValueValidator(MAX_MIB)]
    )
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=160)
    erased_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.tenant_id


class Segment(models.Model):
    """A file of records, and how far it was read. `closed`: nobody appends to it and all of it was read."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    name = models.CharField(max_length=80)
    offset = models.PositiveBigIntegerField(default=0)
    closed = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("tenant", "day", "name"), name="one_row_per_segment")]

    def __str__(self) -> str:
        return f"{self.tenant_id}/{self.day}/{self.name}"


class Conversation(models.Model):
    """A kept request: what lists show of it, and where its texts are."""

    request_id = models.CharField(primary_key=True, max_length=64)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="conversations")
    segment = models.ForeignKey(Segment, on_delete=models.CASCADE, related_name="conversations")
    offset = models.PositiveBigIntegerField()
    size = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    key_id = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    endpoint = models.CharField(max_length=32)
    stream = models.BooleanField()
    prompt_tokens = models.PositiveBigIntegerField()
    completion_tokens = models.PositiveBigIntegerField()
    outcome = models.CharField(max_length=16)
    http_status = models.PositiveSmallIntegerField()
    cut = models.BooleanField()

    class Meta:
        indexes = [models.Index(fields=("tenant", "-at", "-request_id"), name="conversations_newest_first")]

    def __str__(self) -> str:
        return self.request_id
