"""`coderack key`: create, list, limit and revoke API keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli import plan_options as options
from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_done, show_rows

if TYPE_CHECKING:
    from appliance.tenants.models import ApiKey

Key = Annotated[str, typer.Argument(help="The key's id or its prefix.")]

app = typer.Typer(help="API keys of the tenants.", no_args_is_help=True)


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "command line",
    user: Annotated[str, typer.Option(help="The person it is made for: who asks for its fine-tunes.")] = "",
    requests_per_minute: options.RequestsPerMinute = None,
    max_concurrency: options.MaxConcurrency = None,
    tokens_per_minute: options.TokensPerMinute = None,
    tokens_per_day: options.TokensPerDay = None,
    tokens_per_month: options.TokensPerMonth = None,
    monthly_budget: options.MonthlyBudget = None,
    allowed_model: options.KeyModels = None,
    as_json: AsJson = False,
) -> None:
    """Create a key; it is shown once and never again."""
    asked = _limits_asked(locals())
    with rows(), options.faults_named():
        from appliance.tenants.keys import KeyLimits, mint  # noqa: PLC0415 - after Django's setup
        from appliance.tenants.models import Tenant, User  # noqa: PLC0415

        owner = Tenant.objects.filter(id=tenant).first()
        if owner is None:
            raise fail(f"there is no tenant {tenant!r}; `coderack tenant list` shows them", Exit.NOT_FOUND)
        person = User.objects.filter(username=user).first()
        if user and person is None:
            raise fail(f"there is no person {user!r}; `coderack user list` shows them", Exit.NOT_FOUND)
        row, key = mint(owner, name, created_by=person, limits=KeyLimits(**options.fields_of(asked)))
    show_done(_shown(row) | {"tenant": tenant, "key": key}, as_json, key)


@app.command("list")
def list_keys(tenant: Annotated[str, typer.Argument(help="The tenant's id.")], as_json: AsJson = False) -> None:
    """List a tenant's keys."""
    with rows():
        from appliance.tenants.models import ApiKey  # noqa: PLC0415

        found = [_shown(row) for row in ApiKey.objects.filter(tenant_id=tenant, internal=False)]
    show_rows(found, as_json, "No keys yet: `coderack key create TENANT` makes one.")


@app.command()
def limits(
    key: Key,
    requests_per_minute: options.RequestsPerMinute = None,
    max_concurrency: options.MaxConcurrency = None,
    tokens_per_minute: options.TokensPerMinute = None,
    tokens_per_day: options.TokensPerDay = None,
    tokens_per_month: options.TokensPerMonth = None,
    monthly_budget: options.MonthlyBudget = None,
    allowed_model: options.KeyModels = None,
    as_json: AsJson = False,
) -> None:
    """Change a key's own limits: what is named, within a second. Without options they are shown."""
    asked = _limits_asked(locals())
    with rows(), options.faults_named():
        from appliance.tenants.keys import change_limits  # noqa: PLC0415

        found = _found(key)
        row = change_limits(found, partial(options.write, asked=asked))
        if row is None:
            raise fail(f"{found.prefix} was revoked, or is the appliance's own", Exit.NOT_FOUND)
    told = {name: value for name, value in _limits(row).items() if value is not None}
    words = ", ".join(f"{name} {_written(value)}" for name, value in told.items()) or "no limits of its own"
    show_done(_shown(row) | {"tenant": row.tenant_id}, as_json, f"{row.prefix}: {words}")


@app.command()
def revoke(key: Key, as_json: AsJson = False) -> None:
    """Revoke a key: the gateway refuses it within a second."""
    with rows():
        from appliance.tenants.keys import revoke as revoke_key  # noqa: PLC0415

        found = _found(key)
        changed = revoke_key(found)
        found.refresh_from_db()
    facts = _shown(found) | {"tenant": found.tenant_id}
    show_done(facts, as_json, f"{found.prefix} {'revoked' if changed else 'was revoked before'}")


def _found(key: str) -> ApiKey:
    from uuid import UUID  # noqa: PLC0415

    from appliance.tenants.models import ApiKey  # noqa: PLC0415

    try:
        found = list(ApiKey.objects.filter(id=UUID(key)))
    except ValueError:
        found = list(ApiKey.objects.filter(prefix=key))
    if len(found) != 1:
        raise fail(f"{len(found)} keys match {key!r}; name one by its id (`coderack key list TENANT`)", Exit.NOT_FOUND)
    return found[0]


def _limits_asked(given: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in given.items() if name not in {"tenant", "key", "name", "user", "as_json"}}


def _limits(row: ApiKey) -> dict[str, object]:
    return {
        "requests_per_minute": row.requests_per_minute, "max_concurrency": row.max_concurrency,
        "tokens_per_minute": row.tokens_per_minute, "tokens_per_day": row.tokens_per_day,
        "tokens_per_month": row.tokens_per_month, "monthly_budget": options.amount_or_none(row.monthly_budget_micros),
        "allowed_models": row.allowed_models,
    }  # fmt: skip


def _written(value: object) -> str:
    return "/".join(value) if isinstance(value, list) else str(value)


def _shown(row: ApiKey) -> dict[str, object]:
    facts = {
        "id": row.id, "prefix": row.prefix, "name": row.name, "created": row.created_at, "revoked": row.revoked_at,
    }  # fmt: skip
    return facts | _limits(row)
