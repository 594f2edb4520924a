"""`coderack engine`: the installed engine environments, kept beside each other for rollback."""

from __future__ import annotations

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, show_rows

app = typer.Typer(help="Engine slots: installed engines, older ones kept beside newer ones.", no_args_is_help=True)


@app.command("list")
def list_engines(as_json: AsJson = False) -> None:
    """List engine slots and what runs in them."""
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
