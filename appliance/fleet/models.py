"""What should run (deployments), what runs (replicas and their engine lives), on what (devices), how it went (samples)."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from appliance.registry.models import Adapter, EngineSlot, ModelVersion
from inference.pool.strategies import DEFAULT


class Deployment(models.Model):
    """The operator's wish: this model version, so many replicas, so many devices each.

    During an upgrade two deployments of one name run; the gateway sends the name's requests to the one that `serves`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("name"), max_length=200, editable=False, help_text=_("the model's, that tenants use"))
    model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, verbose_name=_("model"))
    slot = models.ForeignKey(EngineSlot, on_delete=models.PROTECT, verbose_name=_("engine slot"))
    replicas = models.PositiveSmallIntegerField(_("replicas"), default=1)
    devices_each = models.PositiveSmallIntegerField(_("devices per replica"), default=1)
    max_model_len = models.PositiveIntegerField(_("context"))
    flags = ArrayField(models.CharField(max_length=200), verbose_name=_("engine flags"), default=list, blank=True)
    profile = models.CharField(
        max_length=40, blank=True, default="", editable=False, help_text="the preset's, that its flags were taken from"
    )
    running = models.BooleanField(_("should run"), default=True)
    serves = models.BooleanField(_("serves its name"), default=True)
    restart = models.PositiveIntegerField(
        default=0, editable=False, help_text=_("how often new engines were asked for")
    )
    may_pause = models.BooleanField(default=False, editable=False, help_text=_("nobody may serve while they start"))
    placement = models.CharField(
        max_length=8, default=DEFAULT, editable=False, help_text="which free devices they take"
    )
    pinned = ArrayField(
        models.CharField(max_length=32), default=list, editable=False, help_text="the only devices they may have"
    )
    lends = models.BooleanField(default=False, editable=False, help_text="its devices may be lent to fine-tunes")
    min_serving = models.PositiveSmallIntegerField(default=1, editable=False, help_text="replicas that are never lent")
    lend_window = models.CharField(
        max_length=11, blank=True, default="", editable=False, help_text="22:00-06:00; empty: at any time"
    )
    canary_share = models.PositiveSmallIntegerField(
        _("canary share"),
        default=0,
        editable=False,
        help_text=_("percent of the name's requests, while it does not serve it"),
    )
    canary_since = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        ordering = ("created_at",)
        constraints = [
            models.UniqueConstraint(
                fields=("model",), condition=models.Q(running=True), name="one_running_deployment_per_model"
            ),
            models.UniqueConstraint(
                fields=("name",), condition=models.Q(running=True, serves=True), name="one_serving_deployment_per_name"
            ),
            models.UniqueConstraint(
                fields=("name",),
                condition=models.Q(running=True, serves=False, canary_share__gt=0),
                name="one_canary_per_name",
            ),
            models.CheckConstraint(condition=models.Q(canary_share__lte=50), name="canary_share_at_most_half"),
            models.CheckConstraint(condition=models.Q(placement__in=("pack", "spread")), name="known_placement"),
        ]

    def save(self, **options: Any) -> None:
        """A new deployment takes its model's name."""
        if self._state.adding:
            self.name = self.model.name
        super().save(**options)

    def __str__(self) -> str:
        return f"{self.model} ×{self.replicas}"


class Replica(models.Model):
    """One engine's place: it keeps its row while engines come and go in it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="replica_rows")
    index = models.PositiveSmallIntegerField()
    state = models.CharField(_("state"), max_length=16)
    reason = models.TextField(_("reason"), blank=True)
    devices = ArrayField(models.CharField(max_length=32), default=list)
    life = models.OneToOneField("EngineLife", null=True, on_delete=models.SET_NULL, related_name="+")
    restarts = models.PositiveIntegerField(_("restarts"), default=0)
    next_start_at = models.DateTimeField(null=True)
    state_since = models.DateTimeField(_("since"), auto_now_add=True)
    lent_to = models.CharField(
        max_length=40, blank=True, default="", help_text="the fine-tune that gets, or has, its devices"
    )
    lent = models.BooleanField(default=False, help_text="the fine-tune owns its devices")
    asked_back = models.BooleanField(default=False, help_text="it gives them back at its next checkpoint")

    class Meta:
        ordering = ("deployment", "index")
        constraints = [
            models.UniqueConstraint(fields=("deployment", "index"), name="one_replica_per_index"),
            models.CheckConstraint(
                condition=models.Q(lent_to="", lent=False, asked_back=False) | ~models.Q(lent_to=""),
                name="lent_to_somebody",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.deployment.model.name}/{self.index}"


class AttachedServer(models.Model):
    """A server that the pool did not start and that is a replica all the same. Its key is in no row: see inference.attached.

    What stands here of abilities was tried when it was attached. `base_…` are its counters when its present life began:
    what it made before is nobody's here; null while it shows none.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("model"), max_length=200)
    url = models.CharField(_("address"), max_length=500)
    served_model = models.CharField(_("its own name for the model"), max_length=200)
    max_model_len = models.PositiveIntegerField(_("context"))
    max_sequences = models.PositiveIntegerField(_("requests at once"), null=True)
    tokenizer_path = models.CharField(max_length=500)
    fim = models.BooleanField(default=False)
    priority = models.BooleanField(default=False)
    cache_salt = models.BooleanField(default=False)
    usage = models.BooleanField(default=False)
    aborts = models.BooleanField(default=False)
    state = models.CharField(_("state"), max_length=16, default="starting")
    reason = models.TextField(_("reason"), blank=True)
    state_since = models.DateTimeField(_("since"), auto_now_add=True)
    life = models.OneToOneField("EngineLife", null=True, on_delete=models.SET_NULL, related_name="+")
    base_prompt_tokens = models.BigIntegerField(null=True)
    base_generation_tokens = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(_("attached"), auto_now_add=True)

    class Meta:
        ordering = ("name", "created_at")
        constraints = [models.UniqueConstraint(fields=("url", "served_model"), name="one_attachment_per_served_model")]

    def __str__(self) -> str:
        return f"{self.name}@{self.url}"


class EngineLife(models.Model):
    """One engine process from start to end, with the last reading of its own token counters.

    Of an attached server: the time for which its counters rose. It has no process here, so that pid is 0. `counts_aborted`
    says whether what an aborted request had used can be learnt from it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    replica = models.ForeignKey(Replica, null=True, on_delete=models.SET_NULL, related_name="lives")
    model_name = models.CharField(max_length=200)
    pid = models.IntegerField()
    pid_started = models.BigIntegerField(help_text="start time in clock ticks since boot")
    socket = models.CharField(max_length=107)
    log = models.CharField(max_length=500)
    way = models.CharField(max_length=16, default="", help_text="fingerprint of what it was started with")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    end_reason = models.TextField(blank=True)
    prompt_tokens = models.BigIntegerField(default=0)
    generation_tokens = models.BigIntegerField(default=0)
    requests_running = models.IntegerField(default=0)
    requests_waiting = models.IntegerField(default=0)
    kv_usage = models.FloatField(default=0.0)
    counters_at = models.DateTimeField(null=True)
    attached_url = models.CharField(max_length=500, blank=True)
    counts_aborted = models.BooleanField(default=True)

    class Meta:
        ordering = ("-started_at",)

    def __str__(self) -> str:
        return str(self.id)


class Storage(models.Model):
    """The one data directory that belongs to this database, as the home box last began with it: see fleet.storage."""

    storage_id = models.CharField(max_length=32)
    data_dir = models.CharField(max_length=500)
    release = models.CharField(max_length=64, help_text="of the home box; workers elsewhere have the same")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(pk=1), name="one_storage")]

    def __str__(self) -> str:
        return self.storage_id


class Box(models.Model):
    """Another machine that fine-tunes: who works there, and when that was last told. The home box has no row."""

    name = models.CharField(_("name"), primary_key=True, max_length=20)
    worker = models.CharField(max_length=32, blank=True)
    host = models.CharField(_("machine"), max_length=255, blank=True)
    bases = ArrayField(models.CharField(max_length=36), default=list, help_text="model versions that it can train")
    lacks = models.TextField(_("lacks"), blank=True)
    since = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(_("last seen"), null=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class PoolsDevices(models.Manager["Device"]):
    """What the pool may place replicas on: no other box's."""

    def get_queryset(self) -> models.QuerySet[Device]:
        """The inventory of the pool."""
        return super().get_queryset().filter(box=None)


class Device(models.Model):
    """An accelerator, or a virtual CPU device, as the pool last saw it, or the worker of the box that has it.

    An id begins with its machine's name, unless that is the home box: `beta/nvidia:0`.
    """

    objects = PoolsDevices()
    everywhere = models.Manager["Device"]()

    id = models.CharField(primary_key=True, max_length=32)
    kind = models.CharField(max_length=16)
    name = models.CharField(_("name"), max_length=200)
    memory_bytes = models.BigIntegerField()
    memory_used_bytes = models.BigIntegerField(null=True)
    utilisation = models.FloatField(null=True, help_text="0 to 1")
    temperature_c = models.FloatField(null=True)
    power_w = models.FloatField(null=True)
    link_group = models.CharField(
        max_length=32, blank=True, help_text="devices of one group have a fast link to each other"
    )
    foreign = models.JSONField(default=list, help_text="processes that are not ours: pid, name, memory_bytes")
    healthy = models.BooleanField(default=True)
    reason = models.TextField(blank=True)
    seen_at = models.DateTimeField()
    box = models.ForeignKey(Box, null=True, on_delete=models.CASCADE, related_name="+")

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.id


class DeviceOwner(models.Model):
    """Who holds a device: a replica, or a training job for as long as it renews its lease. One row, one owner."""

    device_id = models.CharField(primary_key=True, max_length=32)
    replica = models.ForeignKey(Replica, null=True, on_delete=models.CASCADE, related_name="owned")
    job_id = models.CharField(max_length=40, null=True)
    since = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(replica__isnull=False, job_id__isnull=True)
                | models.Q(replica__isnull=True, job_id__isnull=False, expires_at__isnull=False),
                name="one_owner_per_device",
            )
        ]

    def __str__(self) -> str:
        return self.device_id


class DeviceWish(models.Model):
    """A fine-tune that waits for a device, for as long as it says so again."""

    job_id = models.CharField(primary_key=True, max_length=40)
    turn = models.PositiveIntegerField(default=0, help_text="how many fine-tunes come before it")
    since = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ("turn", "since", "job_id")

    def __str__(self) -> str:
        return self.job_id


class AdapterLoad(models.Model):
    """An adapter in one engine's life: loaded, or why it could not be."""

    id = models.BigAutoField(primary_key=True)
    life = models.ForeignKey(EngineLife, on_delete=models.CASCADE, related_name="adapter_loads")
    adapter = models.ForeignKey(Adapter, on_delete=models.CASCADE, related_name="loads")
    loaded = models.BooleanField()
    reason = models.TextField(blank=True)
    at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("life", "adapter"), name="one_load_per_life")]

    def __str__(self) -> str:
        return f"{self.adapter_id} in {self.life_id}"


class Sample(models.Model):
    """Tokens per second of one name's engines over the seconds before `at`, read from their counters.

    The latencies are estimated from the engines' histograms over the same seconds; null where no request gave one.
    """

    id = models.BigAutoField(primary_key=True)
    model_name = models.CharField(max_length=200)
    at = models.DateTimeField(db_index=True)
    input_tps = models.FloatField()
    output_tps = models.FloatField()
    running = models.IntegerField()
    waiting = models.IntegerField()
    kv_usage = models.FloatField()
    ttft_p50_ms = models.FloatField(null=True)
    ttft_p99_ms = models.FloatField(null=True)
    tpot_p50_ms = models.FloatField(null=True)
    tpot_p99_ms = models.FloatField(null=True)

    class Meta:
        ordering = ("at",)

    def __str__(self) -> str:
        return f"{self.model_name} {self.at:%H:%M:%S}"
