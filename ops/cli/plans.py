"""`coderack plan`: what tenants may ask for and what it costs."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_json, show_rows

if TYPE_CHECKING:
    from appliance.tenants.models import Plan

app = typer.Typer(help="Plans: limits and prices of tenants.", no_args_is_help=True)
MICROS = 1_000_000
MIB = 1024 * 1024


def _micros(text: str) -> int:
    """A price as a person writes it, in micro-units of the currency."""
    try:
        amount = Decimal(text) * MICROS
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is no amount; write it like 1.25") from None
    if not amount.is_finite() or amount < 0 or amount > 10**15 or amount != int(amount):
        raise typer.BadParameter(f"{text} must not be negative and has at most six decimals")
    return int(amount)


def _price(micros: int) -> str:
    return f"{Decimal(micros) / MICROS:f}"


# None leaves the value to the plan's own defaults in the schema.
Price = Annotated[int | None, typer.Option(parser=_micros, metavar="AMOUNT", help="Per million tokens.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The plan's name.")],
    max_context_tokens: Annotated[int | None, typer.Option(help="Tokens of prompt and answer together.")] = None,
    default_max_tokens: Annotated[int | None, typer.Option(help="Output where a client names none.")] = None,
    allowed_model: Annotated[
        list[str] | None, typer.Option(help="A base model it includes, with its adapters. Default: all.")
    ] = None,
    input_price: Price = None,
    cached_price: Price = None,
    output_price: Price = None,
    currency: Annotated[str | None, typer.Option(help="Three letters.")] = None,
    max_file_mib: Annotated[int | None, typer.Option(help="Size limit of an upload.", min=1)] = None,
    max_files: Annotated[int | None, typer.Option(help="Files kept.", min=0)] = None,
    max_active_jobs: Annotated[int | None, typer.Option(help="Fine-tunes at once.", min=0)] = None,
    as_json: AsJson = False,
) -> None:
    """Create a plan."""
    asked = {
        "max_context_tokens": max_context_tokens,
        "default_max_tokens": default_max_tokens,
        "allowed_models": allowed_model or None,
        "input_price_micros": input_price,
        "cached_price_micros": cached_price,
        "output_price_micros": output_price,
        "currency": currency,
        "max_file_bytes": None if max_file_mib is None else max_file_mib * MIB,
        "max_files": max_files,
        "max_active_jobs": max_active_jobs,
    }
    if currency is not None and not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise fail(f"currency: {currency!r} must be three capital letters such as CNY", Exit.USAGE)
    with rows():
        from django.core.exceptions import ValidationError  # noqa: PLC0415 - after Django's setup

        from appliance.tenants.acts import create_plan  # noqa: PLC0415
        from appliance.tenants.models import Plan  # noqa: PLC0415

        row = Plan(name=name, **{field: value for field, value in asked.items() if value is not None})
        try:
            row.full_clean()
        except ValidationError as error:
            faults = [f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items()]
            raise fail("; ".join(faults), Exit.USAGE) from None
        create_plan(row)
        shown = _shown(row)
    show_json(shown) if as_json else typer.echo(f"plan {name} created")


@app.command("list")
def list_plans(as_json: AsJson = False) -> None:
    """List plans."""
    with rows():
        from appliance.tenants.models import Plan  # noqa: PLC0415

        found = [_shown(row) for row in Plan.objects.order_by("name")]
    show_rows(found, as_json, "No plans yet: `coderack plan create NAME` makes one.")


def _shown(row: Plan) -> dict[str, object]:
    return {
        "name": row.name,
        "max_context_tokens": row.max_context_tokens,
        "default_max_tokens": row.default_max_tokens,
        "allowed_models": row.allowed_models,
        "currency": row.currency,
        "input_price": _price(row.input_price_micros),
        "cached_price": _price(row.cached_price_micros),
        "output_price": _price(row.output_price_micros),
        "max_file_mib": round(row.max_file_bytes / MIB, 3),
        "max_files": row.max_files,
        "max_active_jobs": row.max_active_jobs,
    }
