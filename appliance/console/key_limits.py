"""A key's own limits in the console: the form for them, and how a list of keys tells them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from appliance.console import figures
from appliance.registry.aliases import targets
from appliance.tenants.keys import KeyLimits
from appliance.tenants.models import MOST, ApiKey, Tenant

MICROS = 1_000_000
MOST_REQUESTS = 2**31 - 1  # PostgreSQL's integer


def _whole(label: Any, most: int) -> forms.IntegerField:
    return forms.IntegerField(label=label, min_value=1, max_value=most, required=False)


class LimitsForm(forms.Form):
    """A key's own limits; an empty field is none, and no model chosen is every model of the plan."""

    requests_per_minute = _whole(gettext_lazy("Requests per minute"), MOST_REQUESTS)
    max_concurrency = _whole(gettext_lazy("Requests at once"), MOST_REQUESTS)
    tokens_per_minute = _whole(gettext_lazy("Tokens per minute"), MOST)
    tokens_per_day = _whole(gettext_lazy("Tokens per day"), MOST)
    tokens_per_month = _whole(gettext_lazy("Tokens per month"), MOST)
    monthly_budget = forms.DecimalField(
        label=gettext_lazy("Budget per month"), min_value=0, max_value=MOST // MICROS, decimal_places=6, required=False
    )
    models = forms.MultipleChoiceField(
        label=gettext_lazy("Models"), widget=forms.CheckboxSelectMultiple, required=False
    )

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        tenant: Tenant,
        key: ApiKey | None = None,
        initial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial={**(initial or {}), **({} if key is None else _initial(key))})
        names = nameable(tenant, key)
        self.fields["models"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]
        self.currency = tenant.plan.currency

    @property
    def numbers(self) -> list[forms.BoundField]:
        """The fields that hold one number each."""
        return [self[field] for field in self.fields if field in NUMBERS]

    def limits(self) -> KeyLimits:
        """What a valid form asks for."""
        asked = {name: self.cleaned_data[name] for name in NUMBERS if name != "monthly_budget"}
        budget = self.cleaned_data["monthly_budget"]
        micros = None if budget is None else int(budget * MICROS)
        return KeyLimits(**asked, monthly_budget_micros=micros, allowed_models=self.cleaned_data["models"] or None)

    def write(self, key: ApiKey) -> None:
        """Put them into a key's row."""
        for name, limit in vars(self.limits()).items():
            setattr(key, name, limit)


NUMBERS = (
    "requests_per_minute", "max_concurrency", "tokens_per_minute", "tokens_per_day", "tokens_per_month", "monthly_budget",
)  # fmt: skip


def _initial(key: ApiKey) -> dict[str, Any]:
    numbers = {name: getattr(key, name) for name in NUMBERS if name != "monthly_budget"}
    micros = key.monthly_budget_micros
    budget = None if micros is None else Decimal(micros) / MICROS
    return {**numbers, "monthly_budget": budget, "models": key.allowed_models or []}


def nameable(tenant: Tenant, key: ApiKey | None = None) -> list[str]:
    """The names that a key may be kept to: what the tenant can ask for now, and what the key is kept to already."""
    kept = (key.allowed_models if key is not None else None) or []
    return sorted({*targets(tenant), *tenant.aliases.values_list("name", flat=True), *kept})


def told(key: ApiKey, currency: str) -> Iterator[str]:
    """A key's own limits in words; nothing where it has none."""
    for text, limit in (
        (_("%(n)s requests per minute"), key.requests_per_minute),
        (_("%(n)s requests at once"), key.max_concurrency),
        (_("%(n)s tokens per minute"), key.tokens_per_minute),
        (_("%(n)s tokens per day"), key.tokens_per_day),
        (_("%(n)s tokens per month"), key.tokens_per_month),
    ):
        if limit is not None:
            yield text % {"n": figures.count(limit)}
    if key.monthly_budget_micros is not None:
        yield _("%(amount)s per month") % {"amount": figures.money(key.monthly_budget_micros, currency)}
    if key.allowed_models is not None:
        yield _("only %(models)s") % {"models": ", ".join(key.allowed_models)}
