"""`coderack user`: people who log in to the console and decide on adapters."""

from __future__ import annotations

import secrets
from enum import StrEnum
from typing import Annotated

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_json, show_rows

app = typer.Typer(help="People: operators, and members of tenants.", no_args_is_help=True)


class Role(StrEnum):
    """What a member of a tenant may do."""

    OWNER = "owner"
    DEVELOPER = "developer"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The name to log in with.")],
    tenant: Annotated[str, typer.Option(help="The tenant to be a member of.")] = "",
    role: Annotated[Role, typer.Option(help="Owners manage keys and approve adapters.")] = Role.DEVELOPER,
    operator: Annotated[bool, typer.Option("--operator", help="Operates the appliance and sees all tenants.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a person and print their password; it is shown once and never again."""
    if not tenant and not operator:
        raise fail("a person needs --tenant TENANT, or --operator", Exit.USAGE)
    password = secrets.token_urlsafe(12)
    with rows():
        from django.core.exceptions import ValidationError  # noqa: PLC0415 - after Django's setup

        from appliance.tenants.acts import create_user  # noqa: PLC0415
        from appliance.tenants.models import Tenant, User  # noqa: PLC0415

        place = Tenant.objects.filter(id=tenant).first()
        if tenant and place is None:
            raise fail(f"there is no tenant {tenant!r}; `coderack tenant list` shows them", Exit.NOT_FOUND)
        row = User(username=name, is_staff=operator, is_superuser=operator)
        row.set_password(password)
        try:
            row.full_clean()
        except ValidationError as error:
            raise fail("; ".join(error.messages), Exit.USAGE) from None
        create_user(row, place, role.value)
    made = {"name": name, "password": password, "tenant": tenant or None, "role": role.value if tenant else None}
    show_json(made | {"operator": operator}) if as_json else typer.echo(password)


@app.command("list")
def list_users(as_json: AsJson = False) -> None:
    """List people and their tenants."""
    with rows():
        from appliance.tenants.models import User  # noqa: PLC0415

        found = [
            {
                "name": user.username,
                "operator": user.is_staff,
                "active": user.is_active,
                "tenants": ", ".join(f"{m.tenant_id} ({m.role})" for m in user.memberships.all()) or None,
            }
            for user in User.objects.prefetch_related("memberships").order_by("username")
        ]
    show_rows(found, as_json, "Nobody yet: `coderack user create NAME` adds a person.")
