"""The ledger: one row per ended request, moved from the journals exactly once."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

CANARY = "canary"  # the pool's own one-token probes, paid by the system tenant


class LedgerEntry(models.Model):
    """One request's usage. `request_id` is unique, so that a journal line read twice is booked once.

    `engine_prompt_tokens` is what the engine's own prompt counter rose by: it counts the prompt once per sequence, the
    tenant is billed for it once.
    """

    request_id = models.CharField(_("request"), primary_key=True, max_length=80)
    tenant_id = models.CharField(_("tenant"), max_length=32)
    key_id = models.CharField(_("key"), max_length=36, null=True)
    model = models.CharField(_("model"), max_length=200)
    endpoint = models.CharField(_("endpoint"), max_length=16)
    stream = models.BooleanField(_("streamed"), default=False)
    life_id = models.UUIDField(null=True, db_index=True)
    replica_id = models.UUIDField(null=True)
    started_at = models.DateTimeField(_("started"))
    finished_at = models.DateTimeField(_("finished"))
    prompt_tokens = models.PositiveBigIntegerField(_("input tokens"))
    cached_tokens = models.PositiveBigIntegerField(_("cached input tokens"))
    completion_tokens = models.PositiveBigIntegerField(_("output tokens"))
    engine_prompt_tokens = models.PositiveBigIntegerField()
    outcome = models.CharField(_("outcome"), max_length=16)
    http_status = models.PositiveSmallIntegerField(_("status"))
    ttft_ms = models.PositiveIntegerField(_("TTFT"), null=True)
    exact = models.BooleanField(_("exact"), default=True)

    class Meta:
        ordering = ("-finished_at",)
        indexes = [
            models.Index(fields=("tenant_id", "-finished_at")),
            models.Index(fields=("-finished_at",)),
        ]

    def __str__(self) -> str:
        return self.request_id


class JournalCursor(models.Model):
    """How far a journal file was read; moved in the same transaction as the rows it yielded."""

    name = models.CharField(primary_key=True, max_length=200)
    offset = models.BigIntegerField(default=0)
    corrupt_lines = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.name
