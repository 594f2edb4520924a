"""`coderack model lend`: whether a model's devices may be lent to fine-tunes, how many replicas stay, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from inference.pool.lend_policy import BadWindow, Lending, Window
from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_done

if TYPE_CHECKING:
    from appliance.fleet.models import Deployment


def lend(
    name: Annotated[str, typer.Argument(help="A served model.")],
    keep: Annotated[
        int, typer.Option(help="Replicas that go on serving all the while; 0 lends the last one, too.", min=0, max=64)
    ] = 1,
    window: Annotated[
        str, typer.Option(help="The part of each day in which it lends, such as 22:00-06:00. Default: at any time.")
    ] = "",
    off: Annotated[bool, typer.Option("--off", help="Lend no longer; what is lent comes back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let fine-tunes that find no free device borrow those of a model's replicas."""
    if off and (window or keep != 1):
        raise fail("--off takes neither --keep nor --window", Exit.USAGE)
    try:
        wanted = None if off else Lending(keep, Window.parse(window) if window else None)
    except BadWindow as error:
        raise fail(str(error), Exit.USAGE) from None
    with rows():
        from appliance.fleet.lending import set_lending  # noqa: PLC0415 - after Django's setup
        from appliance.fleet.models import Replica  # noqa: PLC0415

        row = set_lending(name, wanted)
        if row is None:
            raise fail(f"{name!r} is not served", Exit.NOT_FOUND)
        lent = Replica.objects.filter(deployment__name=name).exclude(lent_to="").count()
        facts = {
            "name": name, "lends": row.lends, "min_serving": row.min_serving, "window": row.lend_window, "lent": lent,
        }  # fmt: skip
        line = f"{name}: {_told(row)}" + (f"; {lent} lent now" if lent else "")
    show_done(facts, as_json, line)


def shown(row: Deployment | None) -> str:
    """A deployment's policy in a table's cell."""
    if row is None or not row.lends:
        return "no"
    return f"keeps {row.min_serving}" + (f", {row.lend_window}" if row.lend_window else "")


def _told(row: Deployment) -> str:
    if not row.lends:
        return "its devices are not lent; what is lent comes back at the next checkpoint"
    when = f"between {row.lend_window.replace('-', ' and ')}" if row.lend_window else "at any time"
    few = ", which with so few replicas lends nothing" if row.replicas <= row.min_serving else ""
    return f"lends {when} and keeps {row.min_serving} serving{few}"
