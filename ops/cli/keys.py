"""`coderack key`: create, list and revoke API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_json, show_rows

app = typer.Typer(help="API keys of the tenants.", no_args_is_help=True)


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "command line",
    user: Annotated[str, typer.Option(help="The person it is made for: who asks for its fine-tunes.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create a key; it is shown once and never again."""
    with rows():
        from appliance.tenants.keys import mint  # noqa: PLC0415 - after Django's setup
        from appliance.tenants.models import Tenant, User  # noqa: PLC0415

        owner = Tenant.objects.filter(id=tenant).first()
        if owner is None:
            raise fail(f"there is no tenant {tenant!r}; `coderack tenant list` shows them", Exit.NOT_FOUND)
        person = User.objects.filter(username=user).first()
        if user and person is None:
            raise fail(f"there is no person {user!r}; `coderack user list` shows them", Exit.NOT_FOUND)
        row, key = mint(owner, name, created_by=person)
    show_json({"id": row.id, "tenant": tenant, "prefix": row.prefix, "key": key}) if as_json else typer.echo(key)


@app.command("list")
def list_keys(tenant: Annotated[str, typer.Argument(help="The tenant's id.")], as_json: AsJson = False) -> None:
    """List a tenant's keys."""
    with rows():
        from appliance.tenants.models import ApiKey  # noqa: PLC0415

        found = [
            {"id": k.id, "prefix": k.prefix, "name": k.name, "created": k.created_at, "revoked": k.revoked_at}
            for k in ApiKey.objects.filter(tenant_id=tenant)
        ]
    show_rows(found, as_json, "No keys yet: `coderack key create TENANT` makes one.")


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="The key's id or its prefix.")]) -> None:
    """Revoke a key: the gateway refuses it within a second."""
    with rows():
        from uuid import UUID  # noqa: PLC0415

        from appliance.tenants.keys import revoke as revoke_key  # noqa: PLC0415
        from appliance.tenants.models import ApiKey  # noqa: PLC0415

        try:
            found = list(ApiKey.objects.filter(id=UUID(key)))
        except ValueError:
            found = list(ApiKey.objects.filter(prefix=key))
        if len(found) != 1:
            raise fail(
                f"{len(found)} keys match {key!r}; name one by its id (`coderack key list TENANT`)", Exit.NOT_FOUND
            )
        changed = revoke_key(found[0])
    typer.echo(f"{found[0].prefix} revoked" if changed else f"{found[0].prefix} was revoked before")
