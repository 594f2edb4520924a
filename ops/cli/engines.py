"""`coderack engine`: the installed engine environments, kept beside each other for rollback, and attached servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.env import load
from ops.cli import attaching
from ops.cli.database import rows
from ops.cli.first_steps import Narrator
from ops.cli.model_changes import OUTDATED
from ops.cli.printing import AsJson, Exit, fail, out, show_done, show_rows
from ops.slots.errors import SlotError, UnknownFlavour
from ops.slots.flavour import choose, read_facts
from ops.slots.install import ensure_slot
from ops.slots.lock import read_lock

if TYPE_CHECKING:
    from appliance.registry.models import EngineSlot

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


@app.command()
def install(
    flavour: Annotated[str, typer.Argument(help="cpu, cuda or ascend; default: what this machine has.")] = "",
    as_json: AsJson = False,
) -> None:
    """Install the engine slot of this release beside the others; what is installed already is left as it is."""
    env = load()
    try:
        slot = ensure_slot(read_lock(choose(read_facts(), flavour or None)), env.cache_dir, Narrator(_tell(as_json)))
    except SlotError as error:
        raise fail(str(error), Exit.USAGE if isinstance(error, UnknownFlavour) else Exit.FAILED) from None
    with rows():
        from appliance.first_rows import register_slot  # noqa: PLC0415 - after Django's setup

        found = slot.record
        register_slot(found.name, found.flavour, found.vllm_version, slot.path, found.digest)
    facts = {"name": found.name, "flavour": found.flavour, "version": found.vllm_version, "path": str(slot.path)}
    show_done(facts, as_json, f"{found.name} is there; `coderack engine use {found.name} MODEL` lets a model run in it")


@app.command()
def use(
    name: Annotated[str, typer.Argument(help="An installed slot, as `coderack engine list` shows it.")],
    model: Annotated[str, typer.Argument(help="A served model.")],
    as_json: AsJson = False,
) -> None:
    """Let a served model's engines run in another slot: they are replaced one by one. The way back is the same."""
    with rows():
        from appliance.fleet import deployments  # noqa: PLC0415
        from appliance.fleet.errors import DeploymentBusy, SlotRefused  # noqa: PLC0415

        slot = slot_named(name)
        try:
            row = deployments.use_slot(model, slot)
        except DeploymentBusy as error:
            raise fail(str(error)) from None
        except SlotRefused as error:
            raise fail(str(error), Exit.USAGE) from None
        if row is None:
            raise fail(f"{model!r} is not served", Exit.NOT_FOUND)
        stale = deployments.runs_outdated(row)
    told = OUTDATED if stale else "nothing runs in another slot"
    show_done({"name": model, "slot": name, "stale": stale}, as_json, f"{model}: slot {name}; {told}")


def slot_named(name: str) -> EngineSlot:
    """The registered slot of this name, if it is there. Raises: typer.Exit, said to the caller."""
    from appliance.registry.models import EngineSlot  # noqa: PLC0415

    slot = EngineSlot.objects.filter(name=name).first()
    if slot is None:
        raise fail(f"there is no engine slot {name!r}; `coderack engine list` shows them", Exit.NOT_FOUND)
    if not slot.is_there:
        raise fail(f"{slot.path} is gone: `coderack engine install {slot.flavour}` puts the slot of this release there")
    return slot


def _tell(as_json: bool) -> Callable[[str], None]:
    """Progress goes where it does not end up in JSON."""
    return (lambda line: None) if as_json else (lambda line: out.print(line, markup=False))


def _list_attached(as_json: bool) -> None:
    with rows():
        from appliance.fleet.models import AttachedServer  # noqa: PLC0415 - after Django's setup

        found = [attaching.facts_of(row) for row in AttachedServer.objects.all()]
    shown = ("name", "url", "engine_model", "state", "reason")
    brief = found if as_json else [{name: one[name] for name in shown} for one in found]
    show_rows(brief, as_json, "No servers are attached: `coderack engine attach URL --model NAME` attaches one.")
