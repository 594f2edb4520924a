"""What was verified and may serve: model versions and adapters by manifest digest, engine slots by what is installed."""

from __future__ import annotations

import uuid
from pathlib import Path

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext_lazy as _

from appliance.tenants.models import Tenant


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

    @property
    def python(self) -> Path:
        """The interpreter that engines are started with."""
        return Path(self.path) / "bin" / "python"

    @property
    def is_there(self) -> bool:
        """Whether it still lies on the disk."""
        return self.python.is_file()


class _Registered(models.Manager["ModelVersion"]):
    """Without merged copies, which are nobody's to deploy, list or name: they come and go with their adapters."""

    def get_queryset(self) -> models.QuerySet[ModelVersion]:
        # no join: rows of it can then be locked
        return super().get_queryset().filter(~Exists(MergedModel.objects.filter(version=OuterRef("pk"))))


class ModelVersion(models.Model):
    """Weights on disk whose manifest was verified. `name` is the id that tenants use.

    `objects` leaves out the merged copies of adapters; they are found by their `MergedModel`.
    """

    name = models.CharField(_("name"), max_length=200)
    preset = models.CharField(_("preset"), max_length=64, blank=True)
    path = models.CharField(_("path"), max_length=500)
    digest = models.CharField(_("manifest digest"), max_length=64)
    max_model_len = models.PositiveIntegerField(_("context"))
    fim = models.BooleanField(_("fills in the middle"), default=False)
    owned_by = models.CharField(_("owned by"), max_length=64, default="coderack")
    created_at = models.DateTimeField(_("registered"), auto_now_add=True)

    objects = _Registered()

    class Meta:
        ordering = ("name",)
        constraints = [models.UniqueConstraint(fields=("name", "digest"), name="one_row_per_model_digest")]

    def __str__(self) -> str:
        return self.name


class AdapterState(models.TextChoices):
    """Where an adapter is on its way to use. Only `candidate` and `active` ones are loaded, only `active` ones served."""

    CANDIDATE = "candidate", _("under test")
    WAITING = "waiting", _("waiting for approval")
    ACTIVE = "active", _("active")
    REJECTED = "rejected", _("rejected")
    WITHDRAWN = "withdrawn", _("withdrawn")


ADAPTER_MOVES: dict[AdapterState, frozenset[AdapterState]] = {
    AdapterState.CANDIDATE: frozenset({AdapterState.WAITING, AdapterState.ACTIVE, AdapterState.REJECTED}),
    AdapterState.WAITING: frozenset({AdapterState.ACTIVE, AdapterState.REJECTED, AdapterState.WITHDRAWN}),
    AdapterState.ACTIVE: frozenset({AdapterState.WITHDRAWN}),
    AdapterState.REJECTED: frozenset(),
    AdapterState.WITHDRAWN: frozenset(),
}
LOADED_STATES = (AdapterState.CANDIDATE, AdapterState.ACTIVE)


class Adapter(models.Model):
    """A LoRA adapter on one model version, trained on one tenant's data and served to that tenant alone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("name"), max_length=200, unique=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="adapters", verbose_name=_("tenant"))
    base = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="adapters", verbose_name=_("base"))
    path = models.CharField(_("path"), max_length=500)
    digest = models.CharField(_("manifest digest"), max_length=64)
    rank = models.PositiveSmallIntegerField(_("rank"))
    target_modules = ArrayField(models.CharField(max_length=100), verbose_name=_("modules"), default=list)
    state = models.CharField(_("state"), max_length=16, choices=AdapterState, default=AdapterState.CANDIDATE)
    lineage = models.JSONField(_("lineage"), default=dict)
    pinned = models.BooleanField(_("pinned"), default=False)
    created_at = models.DateTimeField(_("made"), auto_now_add=True)
    state_since = models.DateTimeField(_("since"), auto_now_add=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.name


class MergedModel(models.Model):
    """An adapter's weights merged into its base's, for engines that can't apply the adapter. The row is the wish for it.

    `version` is the copy on the disk once it is whole. It is built again after `retry_at` where that failed, for `reason`.
    """

    adapter = models.OneToOneField(Adapter, on_delete=models.CASCADE, related_name="merged")
    version = models.OneToOneField(ModelVersion, null=True, on_delete=models.PROTECT, related_name="merged")
    reason = models.TextField(blank=True)
    failures = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.adapter.name} merged"


class Alias(models.Model):
    """A tenant's own name for a model that it may use, so that editors keep one name while adapters change.

    Names, not rows: a base model's next version answers to the same name. A share of the requests may go to `canary`.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="aliases", verbose_name=_("tenant"))
    name = models.CharField(_("name"), max_length=200)
    target = models.CharField(_("stands for"), max_length=200)
    canary = models.CharField(_("canary"), max_length=200, blank=True)
    share = models.PositiveSmallIntegerField(_("share"), default=0, help_text="percent of its requests for the canary")
    canary_since = models.DateTimeField(editable=False, null=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        ordering = ("tenant_id", "name")
        constraints = [
            models.UniqueConstraint(fields=("tenant", "name"), name="one_alias_per_name"),
            models.CheckConstraint(
                condition=models.Q(share=0, canary="") | (models.Q(share__gte=1, share__lte=50) & ~models.Q(canary="")),
                name="alias_share_goes_with_a_canary",
            ),
        ]

    def __str__(self) -> str:
        return self.name
