"""`coderack tenant`: create and list tenants."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.cli.database import rows
from ops.cli.printing import Exit, fail, show_json, show_rows

app = typer.Typer(help="Tenants: the teams that share the appliance.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(help="Id: lower-case letters, digits, hyphens.")],
    name: Annotated[str, typer.Option(help="Name for people. Default: the id.")] = "",
    plan: Annotated[str, typer.Option(help="The plan's name.")] = "standard",
    as_json: AsJson = False,
) -> None:
    """Create a tenant."""
    with rows():
        from django.core.exceptions import ValidationError  # noqa: PLC0415 - after Django's setup

        from appliance.tenants.models import Plan, Tenant  # noqa: PLC0415

        chosen = Plan.objects.filter(name=plan).first()
        if chosen is None:
            known = ", ".join(Plan.objects.values_list("name", flat=True))
            raise fail(f"there is no plan {plan!r}; there are: {known}", Exit.NOT_FOUND)
        row = Tenant(id=tenant, name=name or tenant, plan=chosen)
        try:
            row.full_clean()
        except ValidationError as error:
            raise fail("; ".join(error.messages), Exit.USAGE) from None
        row.save(force_insert=True)
    show_json({"id": row.id, "name": row.name, "plan": plan}) if as_json else typer.echo(f"tenant {row.id} created")


@app.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """List tenants."""
    with rows():
        from appliance.tenants.models import Tenant  # noqa: PLC0415

        found = [
            {"id": t.id, "name": t.name, "plan": t.plan.name, "active": t.is_active}
            for t in Tenant.objects.select_related("plan")
        ]
    show_rows(found, as_json, "No tenants yet: `coderack tenant create NAME` makes one.")
