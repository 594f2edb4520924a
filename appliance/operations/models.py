"""Upgrades with their steps, and acceptance runs: what the console shows and what a killed command goes on from."""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from appliance.fleet.models import Deployment
from appliance.registry.models import ModelVersion


class UpgradeState(models.TextChoices):
    """Where an upgrade is. Of those that run there is one at most."""

    PLANNED = "planned", _("planned")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    UNDONE = "undone", _("undone")
    FAILED = "failed", _("failed")


UPGRADE_MOVES: dict[UpgradeState, frozenset[UpgradeState]] = {
    UpgradeState.PLANNED: frozenset({UpgradeState.RUNNING, UpgradeState.UNDONE}),
    UpgradeState.RUNNING: frozenset({UpgradeState.DONE, UpgradeState.UNDONE, UpgradeState.FAILED}),
    UpgradeState.DONE: frozenset(),
    UpgradeState.UNDONE: frozenset(),
    UpgradeState.FAILED: frozenset({UpgradeState.RUNNING, UpgradeState.UNDONE}),  # undone: `model serve` settled it
}


class Upgrade(models.Model):
    """A name's way from one model version to another; a rollback is one too, back to the version before.

    `undone`: a step failed and everything before it was taken back. `failed`: taking it back failed as well, and a person
    has to look; resuming tries again, and serving one version settles it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("model"), max_length=200)
    rollback = models.BooleanField(_("rollback"), default=False)
    source = models.CharField(_("bundle"), max_length=500, blank=True)
    digest = models.CharField(_("manifest digest"), max_length=64)
    strategy = models.CharField(_("strategy"), max_length=16)
    state = models.CharField(_("state"), max_length=16, choices=UpgradeState, default=UpgradeState.PLANNED)
    reason = models.TextField(_("reason"), blank=True)
    from_model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    to_model = models.ForeignKey(ModelVersion, null=True, on_delete=models.PROTECT, related_name="+")
    from_deployment = models.ForeignKey(Deployment, null=True, on_delete=models.SET_NULL, related_name="+")
    to_deployment = models.ForeignKey(Deployment, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by = models.CharField(_("by"), max_length=150)
    created_at = models.DateTimeField(_("planned"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = [
            models.UniqueConstraint(
                fields=("state",), condition=models.Q(state=UpgradeState.RUNNING), name="one_running_upgrade"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.digest[:12]}"


class StepState(models.TextChoices):
    """How far one step is. `started` is written before anything is done, so that a killed one is known."""

    WAITING = "waiting", _("waiting")
    STARTED = "started", _("started")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    UNDOING = "undoing", _("undoing")
    UNDONE = "undone", _("undone")


class UpgradeStep(models.Model):
    """One step of an upgrade: check, apply, verify, and undo where a later one failed."""

    id = models.BigAutoField(primary_key=True)
    upgrade = models.ForeignKey(Upgrade, on_delete=models.CASCADE, related_name="steps")
    index = models.PositiveSmallIntegerField()
    name = models.CharField(_("step"), max_length=32)
    state = models.CharField(_("state"), max_length=16, choices=StepState, default=StepState.WAITING)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    detail = models.JSONField(default=dict)
    reason = models.TextField(_("reason"), blank=True)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        ordering = ("upgrade", "index")
        constraints = [models.UniqueConstraint(fields=("upgrade", "index"), name="one_step_per_index")]

    def __str__(self) -> str:
        return self.name


class Verdict(models.TextChoices):
    """What an acceptance run showed. `void`: the figures can't be relied on, so they say nothing about the target."""

    MET = "met", _("met")
    NOT_MET = "not_met", _("not met")
    VOID = "void", _("void")


class AcceptanceRun(models.Model):
    """A load run against a target, with the certificate that was signed over it. Rates are tokens per second."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model_name = models.CharField(_("model"), max_length=200)
    model_digest = models.CharField(max_length=64)
    started_at = models.DateTimeField(_("started"))
    finished_at = models.DateTimeField(_("finished"))
    target_input_tps = models.FloatField(_("input target"))
    target_output_tps = models.FloatField(_("output target"))
    input_tps = models.FloatField(_("input"))
    output_tps = models.FloatField(_("output"))
    requests = models.PositiveIntegerField(_("requests"))
    failed_requests = models.PositiveIntegerField(_("failed requests"))
    verdict = models.CharField(_("verdict"), max_length=16, choices=Verdict)
    reasons = ArrayField(models.TextField(), default=list)
    folder = models.CharField(max_length=500)
    certificate_digest = models.CharField(_("certificate"), max_length=64)
    created_by = models.CharField(_("by"), max_length=150)

    class Meta:
        ordering = ("-started_at",)

    def __str__(self) -> str:
        return str(self.id)
