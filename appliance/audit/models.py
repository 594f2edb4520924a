"""The audit log's table. A trigger refuses to change or remove a row; `record` is what adds them."""

from __future__ import annotations

from django.db import models


class AuditEntry(models.Model):
    """One act. `seq` has no gaps: it is counted under the chain's lock and not by a sequence, which would leave some."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    tenant_id = models.CharField(max_length=32, null=True)
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=300)
    details = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ("-seq",)
        indexes = [
            models.Index(fields=("-at", "-seq"), name="audit_newest"),
            models.Index(fields=("tenant_id", "-at", "-seq"), name="audit_of_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.action} {self.subject}"
