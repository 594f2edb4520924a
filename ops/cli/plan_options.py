"""The options of a plan and of a key's limits: how they are written, and what they make of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.printing import Exit, fail

if TYPE_CHECKING:
    from appliance.tenants.models import ApiKey, Plan

MICROS = 1_000_000
MIB = 1024 * 1024
NONE = "none"
ALL = "all"
MOST_REQUESTS = 2**31 - 1  # PostgreSQL's integer
MOST_TOKENS = 10**15
MOST_NAME = 200  # characters of a model's name
MODEL_LIMITS = ("requests_per_minute", "tokens_per_minute", "max_concurrency")


@dataclass(frozen=True)
class Cap:
    """A limit as it was asked for; None is no limit, and no Cap at all leaves what there is."""

    number: int | None


@dataclass(frozen=True)
class ModelLimit:
    """One limit of one model in a plan."""

    model: str
    name: str
    cap: Cap


def micros(text: str) -> int:
    """An amount as a person writes it, in micro-units of the currency."""
    try:
        amount = Decimal(text) * MICROS
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is no amount; write it like 1.25") from None
    if not amount.is_finite() or amount < 0 or amount > 10**15 or amount != int(amount):
        raise typer.BadParameter(f"{text} must not be negative and has at most six decimals")
    return int(amount)


def amount(micro_units: int) -> str:
    """The same the other way round."""
    return f"{Decimal(micro_units) / MICROS:f}"


def amount_or_none(micro_units: int | None) -> str | None:
    """An amount; none stays none."""
    return None if micro_units is None else amount(micro_units)


def _budget(text: str) -> Cap:
    return Cap(None if text == NONE else micros(text))


def _whole(most: int) -> Callable[[str], Cap]:
    def parse(text: str) -> Cap:
        if text == NONE:
            return Cap(None)
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 0 < int(text) <= most):
            raise typer.BadParameter(f"{text!r} must be a whole number from 1 to {most}, or none")
        return Cap(int(text))

    return parse


def _model_limit(text: str) -> ModelLimit:
    named, _, written = text.rpartition("=")
    model, _, name = named.rpartition(":")
    if not model or name not in MODEL_LIMITS:
        known = ", ".join(MODEL_LIMITS)
        raise typer.BadParameter(f"{text!r}: write it as MODEL:NAME=NUMBER, where NAME is one of {known}")
    return ModelLimit(model, name, _whole(MOST_TOKENS if name == "tokens_per_minute" else MOST_REQUESTS)(written))


def _model_name(text: str) -> str:
    if not (text.isprintable() and 0 < len(text) <= MOST_NAME):
        raise typer.BadParameter(f"a model's name has 1 to {MOST_NAME} characters, all of them printable")
    return text


# None leaves the value to the plan's own defaults in the schema, or as it is.
Price = Annotated[int | None, typer.Option(parser=micros, metavar="AMOUNT", help="Per million tokens.")]
RequestsPerMinute = Annotated[
    Cap | None, typer.Option(parser=_whole(MOST_REQUESTS), metavar="NUMBER|none", help="Requests in a minute.")
]
TokensPerMinute = Annotated[
    Cap | None, typer.Option(parser=_whole(MOST_TOKENS), metavar="NUMBER|none", help="Tokens in a minute.")
]
MaxConcurrency = Annotated[
    Cap | None, typer.Option(parser=_whole(MOST_REQUESTS), metavar="NUMBER|none", help="Requests at once.")
]
TokensPerDay = Annotated[
    Cap | None, typer.Option(parser=_whole(MOST_TOKENS), metavar="NUMBER|none", help="Tokens in a day (UTC).")
]
TokensPerMonth = Annotated[
    Cap | None, typer.Option(parser=_whole(MOST_TOKENS), metavar="NUMBER|none", help="Tokens in a month (UTC).")
]
MonthlyBudget = Annotated[
    Cap | None, typer.Option(parser=_budget, metavar="AMOUNT|none", help="Money for a month (UTC).")
]
ModelLimits = Annotated[
    list[ModelLimit] | None,
    typer.Option(
        parser=_model_limit, metavar="MODEL:NAME=NUMBER", help=f"A limit of one model: {', '.join(MODEL_LIMITS)}."
    ),
]
Weight = Annotated[
    int | None, typer.Option(help="Share against other plans' tenants where requests queue.", min=1, max=10_000)
]
MaxContextTokens = Annotated[int | None, typer.Option(help="Tokens of prompt and answer together.")]
DefaultMaxTokens = Annotated[int | None, typer.Option(help="Output where a client names none.")]
AllowedModels = Annotated[
    list[str] | None, typer.Option(help=f"A base model it includes, with its adapters; {ALL}: every one.")
]
Currency = Annotated[str | None, typer.Option(help="Three letters.")]
MaxFileMib = Annotated[int | None, typer.Option(help="Size limit of an upload.", min=1)]
MaxFiles = Annotated[int | None, typer.Option(help="Files kept.", min=0)]
MaxActiveJobs = Annotated[int | None, typer.Option(help="Fine-tunes at once.", min=0)]

KeyModels = Annotated[
    list[str] | None,
    typer.Option(
        parser=_model_name,
        metavar="TEXT",
        help=f"A name that the key may ask for: a model, an adapter or an alias; {ALL}: every one.",
    ),
]

FIELDS = {
    "allowed_model": "allowed_models",
    "input_price": "input_price_micros",
    "cached_price": "cached_price_micros",
    "output_price": "output_price_micros",
    "monthly_budget": "monthly_budget_micros",
    "max_file_mib": "max_file_bytes",
    "model_limit": "model_limits",
}


def write(row: Plan | ApiKey, asked: Mapping[str, Any]) -> None:
    """Put what was asked for into a plan's or a key's row; an option that was not given leaves its field."""
    for name, value in fields_of(asked).items():
        setattr(row, name, _merged(getattr(row, name), value) if name == "model_limits" else value)


def fields_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What options say of a row's fields; those that were not given are left out."""
    given = {name: value for name, value in asked.items() if value is not None and value != []}
    return {FIELDS.get(name, name): _field(name, value) for name, value in given.items()}


@contextmanager
def faults_named() -> Iterator[None]:
    """A row that can't be is one line with the fields' names."""
    from django.core.exceptions import ValidationError  # noqa: PLC0415 - after Django's setup

    try:
        yield
    except ValidationError as error:
        faults = [f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items()]
        raise fail("; ".join(faults), Exit.USAGE) from None


def _field(name: str, value: Any) -> Any:
    if isinstance(value, Cap):
        return value.number
    if name == "max_file_mib":
        return value * MIB
    if name == "allowed_model" and value == [ALL]:
        return None
    return value


def _merged(before: Mapping[str, Mapping[str, int]], asked: list[ModelLimit]) -> dict[str, dict[str, int]]:
    """The models' limits with these in place of their old ones; a model without any is left out."""
    limits = {model: dict(of_model) for model, of_model in before.items()}
    for one in asked:
        of_model = limits.setdefault(one.model, {})
        of_model.pop(one.name, None)
        if one.cap.number is not None:
            of_model[one.name] = one.cap.number
    return {model: of_model for model, of_model in limits.items() if of_model}
