"""`coderack key`: create, list and revoke API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.database import rows
from ops.cli.plan_options import MonthlyBudget, RequestsPerMinute, TokensPerMinute, amount_or_none, number
from ops.cli.printing import AsJson, Exit, fail, show_done, show_rows

if TYPE_CHECKING:
    from appliance.tenants.models import ApiKey

app = typer.Typer(help="API keys of the tenants.", no_args_is_help=True)


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "command line",
    user: Annotated[str, typer.Option(help="The person it is made for: who asks for its fine-tunes.")] = "",
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    monthly_budget: MonthlyBudget = None,
    as_json: AsJson = False,
) -> None:
    """Create a key; it is shown once and never again."""
    with rows():
        from appliance.tenants.keys import KeyLimits, mint  # noqa: PLC0415 - after Django's setup
        from appliance.tenants.models import Tenant, User  # noqa: PLC0415

        owner = Tenant.objects.filter(id=tenant).first()
        if owner is None:
            raise fail(f"there is no tenant {tenant!r}; `coderack tenant list` shows them", Exit.NOT_FOUND)
        person = User.objects.filter(username=user).first()
        if user and person is None:
            raise fail(f"there is no person {user!r}; `coderack user list` shows them", Exit.NOT_FOUND)
        limits = KeyLimits(number(requests_per_minute), number(tokens_per_minute), number(monthly_budget))
        row, key = mint(owner, name, created_by=person, limits=limits)
    show_done(_shown(row) | {"tenant": tenant, "key": key}, as_json, key)


@app.command("list")
def list_keys(tenant: Annotated[str, typer.Argument(help="The tenant's id.")], as_json: AsJson = False) -> None:
    """List a tenant's keys."""
    with rows():
        from appliance.tenants.models import ApiKey  # noqa: PLC0415

        found = [_shown(row) for row in ApiKey.objects.filter(tenant_id=tenant, internal=False)]
    show_rows(found, as_json, "No keys yet: `coderack key create TENANT` makes one.")


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="The key's id or its prefix.")], as_json: AsJson = False) -> None:
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
        found[0].refresh_from_db()
    facts = _shown(found[0]) | {"tenant": found[0].tenant_id}
    show_done(facts, as_json, f"{found[0].prefix} {'revoked' if changed else 'was revoked before'}")


def _shown(row: ApiKey) -> dict[str, object]:
    return {
        "id": row.id, "prefix": row.prefix, "name": row.name, "created": row.created_at, "revoked": row.revoked_at,
        "requests_per_minute": row.requests_per_minute, "tokens_per_minute": row.tokens_per_minute,
        "monthly_budget": amount_or_none(row.monthly_budget_micros),
    }  # fmt: skip
