"""Who may use the appliance: tenants with a plan, people with memberships, API keys kept as digests."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

SYSTEM_TENANT = "system"
SLUG = RegexValidator(
    r"^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$", _("Use 1 to 32 lower-case letters, digits and hyphens.")
)


MODEL_LIMITS = ("requests_per_minute", "tokens_per_minute", "max_concurrency")
MOST = 10**15  # counted exactly by Redis' scripts, whose numbers are doubles


def check_model_limits(value: object) -> None:
    """Of `{model: {limit: number}}`. Raises: ValidationError."""
    if not isinstance(value, dict) or not all(isinstance(limits, dict) for limits in value.values()):
        raise ValidationError(_("Write it as {model: {limit: number}}."))
    for limits in value.values():
        unknown = sorted(set(limits) - set(MODEL_LIMITS))
        if unknown:
            raise ValidationError(_("Unknown limits: %(names)s."), params={"names": ", ".join(unknown)})
        if not all(type(number) is int and 0 < number <= MOST for number in limits.values()):
            raise ValidationError(_("Limits are whole numbers above 0 and at most 10^15."))


class Plan(models.Model):
    """What a tenant may ask for and what it costs. Prices are micro-units of the currency per million tokens.

    A limit in time of null is none. Days and months are calendar ones, UTC.
    """

    name = models.CharField(_("name"), max_length=64, unique=True)
    max_context_tokens = models.PositiveIntegerField(
        _("context limit"), default=32768, validators=[MinValueValidator(16), MaxValueValidator(163840)]
    )
    default_max_tokens = models.PositiveIntegerField(
        _("output tokens where the client names none"), default=1024, validators=[MinValueValidator(1)]
    )
    allowed_models = ArrayField(
        models.CharField(max_length=200), verbose_name=_("allowed models"), null=True, blank=True
    )
    currency = models.CharField(_("currency"), max_length=3, default="CNY")
    input_price_micros = models.PositiveBigIntegerField(_("price per million input tokens"), default=1_000_000)
    cached_price_micros = models.PositiveBigIntegerField(_("price per million cached input tokens"), default=100_000)
    output_price_micros = models.PositiveBigIntegerField(_("price per million output tokens"), default=2_000_000)
    requests_per_minute = models.PositiveIntegerField(
        _("requests per minute"), null=True, blank=True, default=3000, validators=[MinValueValidator(1)]
    )
    tokens_per_minute = models.PositiveBigIntegerField(
        _("tokens per minute"), null=True, blank=True, default=3_000_000, validators=[MinValueValidator(1)]
    )
    max_concurrency = models.PositiveIntegerField(
        _("requests at once"), null=True, blank=True, default=256, validators=[MinValueValidator(1)]
    )
    tokens_per_day = models.PositiveBigIntegerField(_("tokens per day"), null=True, blank=True)
    tokens_per_month = models.PositiveBigIntegerField(_("tokens per month"), null=True, blank=True)
    monthly_budget_micros = models.PositiveBigIntegerField(_("budget per month, in millionths"), null=True, blank=True)
    model_limits = models.JSONField(
        _("limits of single models"), default=dict, blank=True, validators=[check_model_limits]
    )
    weight = models.PositiveSmallIntegerField(
        _("weight"), default=100, validators=[MinValueValidator(1), MaxValueValidator(10_000)]
    )
    max_file_bytes = models.PositiveBigIntegerField(
        _("size limit of a file, in bytes"), default=512 * 1024 * 1024, validators=[MinValueValidator(1024)]
    )
    max_files = models.PositiveIntegerField(_("number of files kept"), default=1000)
    max_active_jobs = models.PositiveSmallIntegerField(_("fine-tunes at once"), default=3)

    def __str__(self) -> str:
        return self.name


class AdapterPolicy(models.TextChoices):
    """When an adapter that passed its gate is used: at once, or after a second person has approved it."""

    AUTO = "auto", _("once they pass their checks")
    APPROVE = "approve", _("after a second person approves")


class Tenant(models.Model):
    """A customer inside the company: the unit of isolation, metering and limits."""

    id = models.CharField(_("id"), primary_key=True, max_length=32, validators=[SLUG])
    name = models.CharField(_("name"), max_length=120)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, verbose_name=_("plan"))
    is_active = models.BooleanField(_("active"), default=True)
    adapter_policy = models.CharField(
        _("adapters are used"), max_length=8, choices=AdapterPolicy, default=AdapterPolicy.AUTO
    )
    needs_signoff = models.BooleanField(_("data reports are signed off before training"), default=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.id


class User(AbstractUser):
    """A person who logs in. Operators are staff; everyone else sees the tenants they are a member of."""


class Membership(models.Model):
    """A person's place in a tenant."""

    class Role(models.TextChoices):
        """What a member may do: owners manage keys and people, developers use and read."""

        OWNER = "owner", _("owner")
        DEVELOPER = "developer", _("developer")

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(_("role"), max_length=16, choices=Role, default=Role.DEVELOPER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("user", "tenant"), name="one_membership_per_tenant")]

    def __str__(self) -> str:
        return f"{self.user} in {self.tenant_id}"


class Lane(models.TextChoices):
    """Whose turn comes first where engines are full; the gateway tells completions in code from chat by itself."""

    INTERACTIVE = "", "interactive"
    BATCH = "batch", "batch"
    EVALUATION = "evaluation", "evaluation"


class ApiKey(models.Model):
    """A tenant's key: its prefix for people, its SHA-256 digest for the gateway; the key itself is shown once.

    Its limits hold beside those of the plan; null is none. `allowed_models` are names just as requests have them, of models,
    adapters and aliases: nothing comes along with another.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="keys", verbose_name=_("tenant"))
    name = models.CharField(_("name"), max_length=120)
    prefix = models.CharField(_("prefix"), max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    requests_per_minute = models.PositiveIntegerField(_("requests per minute"), null=True, blank=True)
    max_concurrency = models.PositiveIntegerField(_("requests at once"), null=True, blank=True)
    tokens_per_minute = models.PositiveBigIntegerField(_("tokens per minute"), null=True, blank=True)
    tokens_per_day = models.PositiveBigIntegerField(_("tokens per day"), null=True, blank=True)
    tokens_per_month = models.PositiveBigIntegerField(_("tokens per month"), null=True, blank=True)
    monthly_budget_micros = models.PositiveBigIntegerField(_("budget per month, in millionths"), null=True, blank=True)
    allowed_models = ArrayField(
        models.CharField(max_length=200), verbose_name=_("allowed models"), null=True, blank=True
    )
    internal = models.BooleanField(default=False, editable=False, help_text=_("made by the appliance for a moment"))
    lane = models.CharField(max_length=10, choices=Lane, default=Lane.INTERACTIVE, blank=True, editable=False)
    limits_of = models.ForeignKey(
        "self", null=True, editable=False, on_delete=models.CASCADE, related_name="+",
        help_text="the key whose own limits hold for this one too, counted together",
    )  # fmt: skip

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.prefix}…"
