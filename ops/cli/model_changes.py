"""What `coderack model` changes of a served model: how many engines, starting them anew, a canary's share, its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from inference.catalog.errors import CatalogError
from ops.cli.database import rows
from ops.cli.placing import short_of, tell_short
from ops.cli.printing import AsJson, Exit, fail, show_done, show_rows

if TYPE_CHECKING:
    from appliance.fleet.models import Deployment

OUTDATED = (
    "engines that run in another way are replaced one by one; a single one serves on until there are devices for a "
    "second, unless `coderack model restart --interrupt` lets it end first"
)


def withdraw(name: Annotated[str, typer.Argument(help="A served model.")], as_json: AsJson = False) -> None:
    """Stop serving a model: its replicas drain and end, its weights stay."""
    with rows():
        from appliance.fleet import deployments  # noqa: PLC0415

        with told():
            withdrawn = deployments.withdraw(name)
    if not withdrawn:
        raise fail(f"{name!r} is not served", Exit.NOT_FOUND)
    show_done({"name": name, "running": False}, as_json, f"{name}: its replicas are draining")


def scale(
    name: Annotated[str, typer.Argument(help="A served model.")],
    replicas: Annotated[int, typer.Argument(help="How many engines.", min=1, max=64)],
    as_json: AsJson = False,
) -> None:
    """Have more or fewer engines of a served model; surplus ones drain."""
    with rows():
        from appliance.fleet import deployments  # noqa: PLC0415

        with told():
            row = _known(name, deployments.scale(name, replicas))
        facts, short = deployed(row), short_of(row)
    show_done(facts | {"short": short}, as_json, f"{name}: {replicas} replicas wanted; `coderack status` shows them")
    if not as_json:
        tell_short(short)


def restart(
    name: Annotated[str, typer.Argument(help="A served model.")],
    may_pause: Annotated[
        bool,
        typer.Option("--interrupt", help="A single engine ends before its successor serves: requests fail meanwhile."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a model's engines anew, one after the other while the others serve; failed ones at once."""
    with rows():
        from appliance.fleet import deployments  # noqa: PLC0415

        with told():
            facts = deployed(_known(name, deployments.restart(name, may_pause=may_pause)))
    show_done(facts, as_json, f"{name}: its engines are replaced; `coderack status` shows them")
    if not as_json and not may_pause:
        typer.echo(OUTDATED)


def _known(name: str, row: Deployment | None) -> Deployment:
    if row is None:
        raise fail(f"{name!r} is not served", Exit.NOT_FOUND)
    return row


def canary(
    name: Annotated[str, typer.Argument(help="A served model of which a second version runs.")],
    share: Annotated[int | None, typer.Option(help="Percent of the name's requests.", min=1, max=50)] = None,
    off: Annotated[bool, typer.Option("--off", help="Take its share back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how a model's next version does beside the present one; give it a share of the requests or take that back."""
    if off and share is not None:
        raise fail("--share and --off are two wishes: give one", Exit.USAGE)
    with rows():
        from dataclasses import asdict  # noqa: PLC0415

        from appliance.fleet import canaries  # noqa: PLC0415
        from appliance.fleet.errors import NoCanary  # noqa: PLC0415

        try:
            if off or share is not None:
                canaries.set_share(name, share or 0)
            both = [asdict(one) | {"digest": one.digest[:12]} for one in canaries.compare(name)]
        except NoCanary as error:
            raise fail(str(error), Exit.NOT_FOUND) from None
    show_rows(both, as_json, "")


@contextmanager
def told() -> Iterator[None]:
    """An upgrade that is under way, or what is known against the wish, as a line and an exit code."""
    from appliance.fleet.errors import DeploymentBusy, PinnedTooFew, SlotRefused  # noqa: PLC0415

    try:
        yield
    except DeploymentBusy as error:
        raise fail(str(error)) from None
    except (CatalogError, PinnedTooFew, SlotRefused) as error:
        raise fail(str(error), Exit.USAGE) from None


def deployed(row: Deployment) -> dict[str, object]:
    """A deployment, for scripts."""
    return {
        "name": row.name, "digest": row.model.digest, "slot": row.slot.name, "replicas": row.replicas,
        "devices_each": row.devices_each, "flags": row.flags, "placement": row.placement, "pinned": row.pinned,
        "running": row.running,
    }  # fmt: skip
