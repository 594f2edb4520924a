"""`coderack tenant`: create and list tenants, and choose when their adapters are used."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_json, show_rows

app = typer.Typer(help="Tenants: the teams that share the appliance.", no_args_is_help=True)


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
    made = {"id": row.id, "name": row.name, "plan": plan, "policy": policy.value}
    show_json(made) if as_json else typer.echo(f"tenant {row.id} created")


@app.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """List tenants."""
    with rows():
        from appliance.tenants.models import Tenant  # noqa: PLC0415

        found = [
            {"id": t.id, "name": t.name, "plan": t.plan.name, "policy": t.adapter_policy, "active": t.is_active}
            for t in Tenant.objects.select_related("plan")
        ]
    show_rows(found, as_json, "No tenants yet: `coderack tenant create NAME` makes one.")


@app.command("set-policy")
def set_policy(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    policy: Annotated[Policy, typer.Argument(help="When adapters that passed their checks are used.")],
) -> None:
    """Choose when a tenant's adapters are used; fine-tunes that exist keep the policy they began with."""
    with rows():
        from appliance.tenants import acts  # noqa: PLC0415

        if not acts.set_policy(tenant, policy.value):
            raise fail(f"there is no tenant {tenant!r}; `coderack tenant list` shows them", Exit.NOT_FOUND)
    typer.echo(f"{tenant}: {policy.value}")
