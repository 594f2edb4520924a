"""Which devices a model's engines are to have, as options; and what is short of them, as lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from inference.pool.strategies import STRATEGIES
from ops.cli.printing import Exit, fail

if TYPE_CHECKING:
    from appliance.fleet.deployments import Where
    from appliance.fleet.models import Deployment

PlacementOption = Annotated[
    str,
    typer.Option(
        "--placement", help="Which free devices: `pack` keeps groups of linked ones whole, `spread` uses many groups."
    ),
]
DeviceOption = Annotated[
    list[str] | None,
    typer.Option("--device", help="A device its engines may have, for instance nvidia:0. Default: any that is free."),
]

_ID = re.compile(r"[a-z]+:(0|[1-9][0-9]{0,5})")


def where(placement: str, pinned: list[str] | None) -> Where:
    """The wish as the fleet takes it."""
    from appliance.fleet.deployments import Where  # noqa: PLC0415 - after Django's setup

    if placement not in STRATEGIES:
        raise fail(f"there is no placement {placement!r}: it is one of {', '.join(STRATEGIES)}", Exit.USAGE)
    given = pinned or []
    for name in given:
        if not _ID.fullmatch(name):
            raise fail(f"{name!r} is no device; `coderack devices` lists them", Exit.USAGE)
    return Where(placement, tuple(dict.fromkeys(given)))


def short_of(row: Deployment) -> list[dict[str, object]]:
    """The replicas for which there are no devices at this moment, as scripts get them."""
    from appliance.fleet.shortages import shortages_of  # noqa: PLC0415
    from inference.engines import engine_kind  # noqa: PLC0415
    from inference.pool.settings import PoolSettings  # noqa: PLC0415

    found = shortages_of(row, engine_kind(PoolSettings.engine_kind))
    return [{"replica": index, "reason": reason} for index, reason in sorted(found.items())]


def tell_short(short: list[dict[str, object]]) -> None:
    """A line for each reason, with the replicas that wait for it."""
    waiting: dict[object, list[str]] = {}
    for one in short:
        waiting.setdefault(one["reason"], []).append(str(one["replica"]))
    for reason, replicas in waiting.items():
        many = "replicas" if len(replicas) > 1 else "replica"
        typer.echo(f"short: {many} {', '.join(replicas)} {'wait' if len(replicas) > 1 else 'waits'}: {reason}")
