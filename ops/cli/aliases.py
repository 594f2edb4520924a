"""`coderack alias`: a tenant's own names for models, and the share of their requests that another model gets first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_done, show_rows

if TYPE_CHECKING:
    from appliance.registry.models import Alias
    from appliance.tenants.models import Tenant

app = typer.Typer(help="A tenant's own names for models.", no_args_is_help=True)
TenantId = Annotated[str, typer.Argument(help="The tenant's id.")]
Name = Annotated[str, typer.Argument(help="The alias.")]


@app.command("list")
def list_aliases(tenant: TenantId, as_json: AsJson = False) -> None:
    """List a tenant's aliases, what they stand for, and how a canary does beside it."""
    with rows():
        from appliance.registry import aliases  # noqa: PLC0415 - after Django's setup

        row = _tenant(tenant)
        models = aliases.served(row)
        found = [_shown(alias, models, figures=as_json) for alias in row.aliases.all()]
        lines = found if as_json else [line for alias in row.aliases.all() for line in _lines(alias, models)]
    show_rows(lines, as_json, f"{tenant} has no aliases: `coderack alias set` makes one.")


@app.command("set")
def set_alias(
    tenant: TenantId,
    name: Name,
    to: Annotated[str, typer.Option("--to", help="The model that it stands for. Default: the one it has.")] = "",
    canary: Annotated[
        str,
        typer.Option(help="A second model for a share of the requests. Default: with --to none, else the one it has."),
    ] = "",
    share: Annotated[
        int | None, typer.Option(help="Percent of the requests for the canary; 0 takes it back.", min=0, max=50)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have a name of the tenant's own stand for a base model or one of its adapters."""
    with rows():
        from appliance.registry import aliases  # noqa: PLC0415
        from appliance.registry.errors import AliasRefused, NoAlias  # noqa: PLC0415

        row = _tenant(tenant)
        try:
            alias = aliases.set_alias(row, name, to=to or None, canary=canary or None, share=share)
        except NoAlias as error:
            raise fail(str(error), Exit.NOT_FOUND) from None
        except AliasRefused as error:
            raise fail(str(error), Exit.USAGE) from None
        facts = _shown(alias, aliases.served(row))
    told = f", {alias.share} % of its requests go to {alias.canary}" if alias.canary else ""
    show_done(facts, as_json, f"{name} of {tenant} stands for {alias.target}{told}")


@app.command()
def remove(tenant: TenantId, name: Name, as_json: AsJson = False) -> None:
    """Take an alias away: requests that name it get 404."""
    with rows():
        from appliance.registry import aliases  # noqa: PLC0415
        from appliance.registry.errors import NoAlias  # noqa: PLC0415

        try:
            aliases.remove_alias(_tenant(tenant), name)
        except NoAlias as error:
            raise fail(str(error), Exit.NOT_FOUND) from None
    show_done({"tenant": tenant, "name": name, "removed": True}, as_json, f"{name} of {tenant} removed")


def _tenant(name: str) -> Tenant:
    from appliance.tenants.models import Tenant  # noqa: PLC0415

    found = Tenant.objects.select_related("plan").filter(pk=name).first()
    if found is None:
        raise fail(f"there is no tenant {name!r}; `coderack tenant list` shows them", Exit.NOT_FOUND)
    return found


def _shown(alias: Alias, models: dict[str, str], *, figures: bool = False) -> dict[str, Any]:
    from appliance.registry import aliases  # noqa: PLC0415

    facts: dict[str, Any] = {
        "tenant": alias.tenant_id,
        "name": alias.name,
        "to": alias.target,
        "canary": alias.canary,
        "share": alias.share,
        "state": str(aliases.state(alias, models)),
    }
    return facts | {"figures": _figures(alias)} if figures else facts


def _figures(alias: Alias) -> list[dict[str, Any]]:
    """The target's and the canary's; none without a canary."""
    from appliance.registry.alias_figures import compare  # noqa: PLC0415

    return [
        {
            "model": one.digest, "share": one.share, "requests": one.requests, "failed": one.failed,
            "ttft_p50_ms": one.ttft_p50_ms,
        }
        for one in compare(alias) or ()
    ]  # fmt: skip


def _lines(alias: Alias, models: dict[str, str]) -> list[dict[str, Any]]:
    """One for the model it stands for, with a canary a second one."""
    from appliance.registry import aliases  # noqa: PLC0415

    alone = {"model": alias.target, "share": 100, "requests": None, "failed": None, "ttft_p50_ms": None}
    state = str(aliases.state(alias, models))
    return [{"name": alias.name, "state": state, **line} for line in _figures(alias) or [alone]]
