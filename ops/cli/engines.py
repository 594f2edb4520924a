"""`coderack engine`: the installed engine environments, kept beside each other for rollback, and attached servers."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.cli import attaching
from ops.cli.database import rows
from ops.cli.printing import AsJson, show_rows

app = typer.Typer(help="Engine slots, and servers that were attached.", no_args_is_help=True)
app.command()(attaching.attach)
app.command()(attaching.detach)


@app.command("list")
def list_engines(
    attached: Annotated[bool, typer.Option("--attached", help="The attached servers instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """List engine slots and what runs in them, or the attached servers."""
    if attached:
        _list_attached(as_json)
        return
    with rows():
        from appliance.fleet.models import Deployment  # noqa: PLC0415 - after Django's setup
        from appliance.registry.models import EngineSlot  # noqa: PLC0415

        users: dict[int, list[str]] = {}
        for slot, name in Deployment.objects.filter(running=True).order_by("name").values_list("slot", "name"):
            users.setdefault(slot, []).append(name)
        found = [
            {
                "name": slot.name,
                "flavour": slot.flavour,
                "version": slot.engine_version,
                "digest": slot.digest if as_json else slot.digest[:12],
                "in_use_by": users.get(slot.pk, []) if as_json else ", ".join(users.get(slot.pk, [])) or None,
            }
            | ({"path": slot.path} if as_json else {})
            for slot in EngineSlot.objects.all()
        ]
    show_rows(found, as_json, "No engine slots yet: `make up` installs one.")


def _list_attached(as_json: bool) -> None:
    with rows():
        from appliance.fleet.models import AttachedServer  # noqa: PLC0415 - after Django's setup

        found = [attaching.facts_of(row) for row in AttachedServer.objects.all()]
    shown = ("name", "url", "engine_model", "state", "reason")
    brief = found if as_json else [{name: one[name] for name in shown} for one in found]
    show_rows(brief, as_json, "No servers are attached: `coderack engine attach URL --model NAME` attaches one.")
