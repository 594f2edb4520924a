"""What was verified and may serve: model versions by manifest digest, engine slots by the digest of what is installed."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class EngineSlot(models.Model):
    """An installed engine environment, kept beside older ones for rollback."""

    name = models.CharField(_("name"), max_length=64, unique=True)
    flavour = models.CharField(_("flavour"), max_length=16)
    engine_version = models.CharField(_("vLLM version"), max_length=32)
    path = models.CharField(_("path"), max_length=500)
    digest = models.CharField(_("digest"), max_length=64)
    created_at = models.DateTimeField(_("registered"), auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class ModelVersion(models.Model):
    """Weights on disk whose manifest was verified. `name` is the id that tenants use."""

    name = models.CharField(_("name"), max_length=200)
    preset = models.CharField(_("preset"), max_length=64, blank=True)
    path = models.CharField(_("path"), max_length=500)
    digest = models.CharField(_("manifest digest"), max_length=64)
    max_model_len = models.PositiveIntegerField(_("context"))
    fim = models.BooleanField(_("fills in the middle"), default=False)
    owned_by = models.CharField(_("owned by"), max_length=64, default="coderack")
    created_at = models.DateTimeField(_("registered"), auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = [models.UniqueConstraint(fields=("name", "digest"), name="one_row_per_model_digest")]

    def __str__(self) -> str:
        return self.name
