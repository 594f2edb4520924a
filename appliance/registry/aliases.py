"""Aliases: a tenant's own names for models that it may use. Set, moved and removed with an entry in the audit log.

The gateway goes by the row within a second. What it does with a share is `inference.gateway.canary`'s; figures are
`alias_figures`'.
"""

from __future__ import annotations

import re
from enum import StrEnum

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from appliance.audit.record import record
from appliance.fleet.canaries import MOST_SHARE
from appliance.fleet.models import AttachedServer
from appliance.registry.errors import AliasRefused, NoAlias
from appliance.registry.models import Adapter, Alias, ModelVersion
from appliance.tenants.models import Tenant

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,198}[A-Za-z0-9._-])?", re.ASCII)
MOST_ALIASES = 100  # of a tenant: each is in the memory of every worker


class AliasState(StrEnum):
    """Whether an alias answers."""

    SERVES = "serves"
    TARGET_GONE = "target_gone"  # what it stands for is not served: requests get 404
    CANARY_GONE = "canary_gone"  # what it stands for has all requests
    HIDDEN = "hidden"  # a model has its name by now, and goes first


def served(tenant: Tenant) -> dict[str, str]:
    """The models that a tenant could use now, its plan aside, with the base of each: just what the gateway reads."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, base FROM gateway_models WHERE coalesce(tenant_id, %s) = %s", [tenant.pk] * 2)
        return dict(cursor.fetchall())


def targets(tenant: Tenant) -> list[str]:
    """What an alias of a tenant can stand for now."""
    return sorted(name for name, base in served(tenant).items() if _allows(tenant, name, base))


def state(alias: Alias, models: dict[str, str]) -> AliasState:
    """How an alias does among the models that its tenant has."""
    if alias.name in models:
        return AliasState.HIDDEN
    if alias.target not in models:
        return AliasState.TARGET_GONE
    return AliasState.CANARY_GONE if alias.canary and alias.canary not in models else AliasState.SERVES


def using(adapter: Adapter) -> QuerySet[Alias]:
    """The aliases that stand for an adapter, or have it as their canary."""
    return Alias.objects.filter(Q(target=adapter.name) | Q(canary=adapter.name), tenant=adapter.tenant_id)


@transaction.atomic
def set_alias(
    tenant: Tenant, name: str, *, to: str | None = None, canary: str | None = None, share: int | None = None
) -> Alias:
    """Make an alias, or change it: naming a target ends a canary that is not named anew, a share of 0 any.

    Without a target it keeps the one it has, without a canary that one. What is there already leaves no entry.
    Raises: AliasRefused.
    """
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)  # two at once must not both take the last place
    _check_form(name)
    row = Alias.objects.filter(tenant=tenant, name=name).first()
    if row is None:
        if not to:
            raise NoAlias(f"{tenant.pk} has no alias {name}: say what it stands for.")
        _check_free(tenant, name)
        row = Alias(tenant=tenant, name=name)
    before = (row.target, row.canary, row.share)
    after = _wanted(row, to, canary, share)
    if after == before:
        return row
    _check_models(tenant, [new for new, old in zip(after[:2], before[:2], strict=True) if new and new != old])
    row.target, row.canary, row.share = after
    if after[:2] != before[:2]:
        row.canary_since = timezone.now() if row.canary else None
    row.save()
    record("alias.set", name, tenant=tenant.pk, details={"to": row.target, "canary": row.canary, "share": row.share})
    return row


@transaction.atomic
def remove_alias(tenant: Tenant, name: str) -> None:
    """Take an alias away: the gateway answers 404 to it.

    Raises: NoAlias.
    """
    if not Alias.objects.filter(tenant=tenant, name=name).delete()[0]:
        raise NoAlias(f"{tenant.pk} has no alias {name}.")
    record("alias.remove", name, tenant=tenant.pk)


def _wanted(row: Alias, to: str | None, canary: str | None, share: int | None) -> tuple[str, str, int]:
    """Target, canary and share as they are to be."""
    if share is not None and not 0 <= share <= MOST_SHARE:
        raise AliasRefused(f"A canary's share is 1 to {MOST_SHARE} percent; 0 takes it back.")
    if canary and share is None:
        raise AliasRefused("A canary needs a share.")
    target = to or row.target
    kept = "" if to and to != row.target else row.canary
    other = canary or kept
    if share == 0 or (to and not canary and share is None):
        return target, "", 0
    if share and not other:
        raise AliasRefused("A share is a canary's: name one.")
    if other and other == target:
        raise AliasRefused("The canary is another model than the one that the alias stands for.")
    return target, other, row.share if share is None else share


def _check_form(name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise AliasRefused(
            "An alias has letters, digits, dots, hyphens, underscores and slashes, begins with a letter or digit, does not "
            "end with a slash, and has at most 200 characters."
        )


def _check_free(tenant: Tenant, name: str) -> None:
    for rows in (ModelVersion.objects, AttachedServer.objects, Adapter.objects):
        if rows.filter(name=name).exists():
            raise AliasRefused(f"{name} is a model's name.")
    if Alias.objects.filter(tenant=tenant).count() >= MOST_ALIASES:
        raise AliasRefused(f"A tenant has at most {MOST_ALIASES} aliases.")


def _check_models(tenant: Tenant, names: list[str]) -> None:
    models = served(tenant)
    for name in names:
        if name not in models:
            raise AliasRefused(f"There is no served model {name} that {tenant.pk} may know of; an alias is none.")
        if not _allows(tenant, name, models[name]):
            raise AliasRefused(f"The plan of {tenant.pk} does not include {name}.")


def _allows(tenant: Tenant, name: str, base: str) -> bool:
    allowed = tenant.plan.allowed_models
    return allowed is None or not {name, base}.isdisjoint(allowed)
