"""`coderack plan`: what tenants may ask for and what it costs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli import plan_options as options
from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_done, show_rows

if TYPE_CHECKING:
    from appliance.tenants.models import Plan

app = typer.Typer(help="Plans: limits and prices of tenants.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The plan's name.")]


@app.command()
def create(
    name: Name,
    max_context_tokens: options.MaxContextTokens = None,
    default_max_tokens: options.DefaultMaxTokens = None,
    allowed_model: options.AllowedModels = None,
    input_price: options.Price = None,
    cached_price: options.Price = None,
    output_price: options.Price = None,
    currency: options.Currency = None,
    requests_per_minute: options.RequestsPerMinute = None,
    tokens_per_minute: options.TokensPerMinute = None,
    max_concurrency: options.MaxConcurrency = None,
    tokens_per_day: options.TokensPerDay = None,
    tokens_per_month: options.TokensPerMonth = None,
    monthly_budget: options.MonthlyBudget = None,
    model_limit: options.ModelLimits = None,
    weight: options.Weight = None,
    max_file_mib: options.MaxFileMib = None,
    max_files: options.MaxFiles = None,
    max_active_jobs: options.MaxActiveJobs = None,
    as_json: AsJson = False,
) -> None:
    """Create a plan."""
    asked = {option: value for option, value in locals().items() if option not in {"name", "as_json"}}
    _check_currency(currency)
    with rows(), options.faults_named():
        from appliance.tenants.acts import create_plan  # noqa: PLC0415 - after Django's setup
        from appliance.tenants.models import Plan  # noqa: PLC0415

        row = Plan(name=name)
        options.write(row, asked)
        row.full_clean()
        create_plan(row)
    show_done(_shown(row), as_json, f"plan {name} created")


@app.command("set")
def change(
    name: Name,
    max_context_tokens: options.MaxContextTokens = None,
    default_max_tokens: options.DefaultMaxTokens = None,
    allowed_model: options.AllowedModels = None,
    input_price: options.Price = None,
    cached_price: options.Price = None,
    output_price: options.Price = None,
    currency: options.Currency = None,
    requests_per_minute: options.RequestsPerMinute = None,
    tokens_per_minute: options.TokensPerMinute = None,
    max_concurrency: options.MaxConcurrency = None,
    tokens_per_day: options.TokensPerDay = None,
    tokens_per_month: options.TokensPerMonth = None,
    monthly_budget: options.MonthlyBudget = None,
    model_limit: options.ModelLimits = None,
    weight: options.Weight = None,
    max_file_mib: options.MaxFileMib = None,
    max_files: options.MaxFiles = None,
    max_active_jobs: options.MaxActiveJobs = None,
    as_json: AsJson = False,
) -> None:
    """Change a plan: what is named, for all of its tenants and within a second."""
    asked = {option: value for option, value in locals().items() if option not in {"name", "as_json"}}
    _check_currency(currency)
    with rows(), options.faults_named():
        from appliance.tenants.acts import change_plan  # noqa: PLC0415

        row = change_plan(name, partial(options.write, asked=asked))
        if row is None:
            raise fail(f"there is no plan {name!r}; `coderack plan list` shows them", Exit.NOT_FOUND)
    show_done(_shown(row), as_json, f"plan {name} is as asked for")


@app.command("list")
def list_plans(as_json: AsJson = False) -> None:
    """List plans."""
    with rows():
        from appliance.tenants.models import Plan  # noqa: PLC0415

        found = [_shown(row) for row in Plan.objects.order_by("name")]
    show_rows(found, as_json, "No plans yet: `coderack plan create NAME` makes one.")


def _check_currency(currency: str | None) -> None:
    if currency is not None and not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise fail(f"currency: {currency!r} must be three capital letters such as CNY", Exit.USAGE)


def _shown(row: Plan) -> dict[str, object]:
    return {
        "name": row.name,
        "max_context_tokens": row.max_context_tokens,
        "default_max_tokens": row.default_max_tokens,
        "allowed_models": row.allowed_models,
        "currency": row.currency,
        "input_price": options.amount(row.input_price_micros),
        "cached_price": options.amount(row.cached_price_micros),
        "output_price": options.amount(row.output_price_micros),
        "requests_per_minute": row.requests_per_minute,
        "tokens_per_minute": row.tokens_per_minute,
        "max_concurrency": row.max_concurrency,
        "tokens_per_day": row.tokens_per_day,
        "tokens_per_month": row.tokens_per_month,
        "monthly_budget": options.amount_or_none(row.monthly_budget_micros),
        "model_limits": row.model_limits,
        "weight": row.weight,
        "max_file_mib": round(row.max_file_bytes / options.MIB, 3),
        "max_files": row.max_files,
        "max_active_jobs": row.max_active_jobs,
    }
