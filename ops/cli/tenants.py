"""`coderack tenant`: create, list, suspend and resume tenants, and choose their rules for fine-tuning."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_done, show_rows

if TYPE_CHECKING:
    from appliance.tenants.models import Tenant

app = typer.Typer(help="Tenants: the teams that share the appliance.", no_args_is_help=True)
TenantId = Annotated[str, typer.Argument(help="The tenant's id.")]


class Policy(StrEnum):
    """When an adapter that passed its checks is used: at once, or after a second person approved it."""

    AUTO = "auto"
    APPROVE = "approve"


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(help="Id: lower-case letters, digits, hyphens.")],
    name: Annotated[str, typer.Option(help="Name for people. Default: the id.")] = "",
    plan: Annotated[str, typer.Option(help="The plan's name.")] = "standard",
    policy: Annotated[Policy, typer.Option(help="When adapters that passed their checks are used.")] = Policy.AUTO,
    as_json: AsJson = False,
) -> None:
    """Create a tenant."""
    with rows():
        from django.core.exceptions import ValidationError  # noqa: PLC0415 - after Django's setup

        from appliance.tenants.acts import create_tenant  # noqa: PLC0415
        from appliance.tenants.models import Plan, Tenant  # noqa: PLC0415

        chosen = Plan.objects.filter(name=plan).first()
        if chosen is None:
            known = ", ".join(Plan.objects.values_list("name", flat=True))
            raise fail(f"there is no plan {plan!r}; there are: {known}", Exit.NOT_FOUND)
        row = Tenant(id=tenant, name=name or tenant, plan=chosen, adapter_policy=policy.value)
        try:
            row.full_clean()
        except ValidationError as error:
            raise fail("; ".join(error.messages), Exit.USAGE) from None
        create_tenant(row)
    show_done(_shown(row), as_json, f"tenant {row.id} created")


class Signoff(StrEnum):
    """Whether fine-tunes wait until a person has signed off their data's reports."""

    REQUIRED = "required"
    OPTIONAL = "optional"


@app.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """List tenants."""
    with rows():
        from appliance.tenants.models import Tenant  # noqa: PLC0415

        found = [_shown(row) for row in Tenant.objects.select_related("plan")]
    show_rows(found, as_json, "No tenants yet: `coderack tenant create NAME` makes one.")


@app.command("set-policy")
def set_policy(
    tenant: TenantId,
    policy: Annotated[Policy, typer.Argument(help="When adapters that passed their checks are used.")],
    as_json: AsJson = False,
) -> None:
    """Choose when a tenant's adapters are used; fine-tunes that exist keep the policy they began with."""
    with rows():
        from appliance.tenants import acts  # noqa: PLC0415

        acts.set_policy(tenant, policy.value)
        facts = _shown(_tenant(tenant))
    show_done(facts, as_json, f"{tenant}: {policy.value}")


@app.command("set-signoff")
def set_signoff(
    tenant: TenantId,
    rule: Annotated[Signoff, typer.Argument(help="Whether fine-tunes wait for a sign-off.")],
    as_json: AsJson = False,
) -> None:
    """Say whether a tenant's fine-tunes wait until a person has signed off their data's reports; holds for queued ones too."""
    with rows():
        from appliance.tenants import acts  # noqa: PLC0415

        acts.set_signoff(tenant, rule is Signoff.REQUIRED)
        facts = _shown(_tenant(tenant))
    show_done(facts, as_json, f"{tenant}: sign-off {rule.value}")


@app.command()
def suspend(tenant: TenantId, as_json: AsJson = False) -> None:
    """Switch a tenant off: its keys are refused within a second, queued fine-tunes wait, all it has stays."""
    _set_active(tenant, False, as_json)


@app.command()
def resume(tenant: TenantId, as_json: AsJson = False) -> None:
    """Switch a suspended tenant on again."""
    _set_active(tenant, True, as_json)


def _set_active(tenant: str, active: bool, as_json: bool) -> None:
    with rows():
        from appliance.tenants import acts  # noqa: PLC0415
        from appliance.tenants.models import SYSTEM_TENANT  # noqa: PLC0415

        if tenant == SYSTEM_TENANT and not active:
            raise fail("the tenant 'system' pays for the canaries and can't be suspended", Exit.USAGE)
        acts.set_active(tenant, active)
        facts = _shown(_tenant(tenant))
    show_done(facts, as_json, f"{tenant} {'active' if active else 'suspended'}")


def _tenant(tenant: str) -> Tenant:
    from appliance.tenants.models import Tenant  # noqa: PLC0415

    found = Tenant.objects.select_related("plan").filter(id=tenant).first()
    if found is None:
        raise fail(f"there is no tenant {tenant!r}; `coderack tenant list` shows them", Exit.NOT_FOUND)
    return found


def _shown(row: Tenant) -> dict[str, object]:
    return {
        "id": row.id, "name": row.name, "plan": row.plan.name, "policy": row.adapter_policy,
        "signoff": "required" if row.needs_signoff else "optional", "active": row.is_active,
    }  # fmt: skip
