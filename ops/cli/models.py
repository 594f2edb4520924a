"""`coderack model`: register verified weights, serve them, stop serving them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.env import load
from inference.catalog.cards import hardware_of
from inference.catalog.errors import CatalogError
from inference.catalog.flags import flags_for, profile_for
from inference.catalog.load import default_context, preset
from inference.catalog.preset import Preset
from inference.devices import DeviceInfo, detect
from inference.devices.errors import DeviceError
from inference.pool.strategies import DEFAULT
from ops.cli import model_changes
from ops.cli.database import rows
from ops.cli.engines import slot_named
from ops.cli.lending import lend, shown
from ops.cli.model_changes import OUTDATED, deployed, told
from ops.cli.placing import DeviceOption, PlacementOption, short_of, tell_short, where
from ops.cli.printing import AsJson, Exit, fail, show_done, show_rows

if TYPE_CHECKING:
    from appliance.registry.models import ModelVersion

MEND = (
    "Copy the directory again from where it is whole. Its manifest is written there, where the files are known to be good: "
    "docs/models.md, `Adding a model`."
)
app = typer.Typer(help="Model versions and their deployments.", no_args_is_help=True)
for change in (model_changes.scale, model_changes.restart, lend, model_changes.canary, model_changes.withdraw):
    app.command()(change)
app.command("stop")(model_changes.withdraw)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List registered models and whether they are served."""
    with rows():
        from appliance.fleet.models import Deployment, Replica  # noqa: PLC0415 - after Django's setup
        from appliance.registry.models import ModelVersion  # noqa: PLC0415

        running = {d.model_id: d for d in Deployment.objects.filter(running=True)}
        found = [
            {
                "name": m.name,
                "digest": m.digest[:12],
                "context": m.max_model_len,
                "fim": m.fim,
                "replicas": running[m.pk].replicas if m.pk in running else 0,
                "ready": Replica.objects.filter(deployment__model=m, state="ready").count(),
                "lends": shown(running.get(m.pk)),
            }
            for m in ModelVersion.objects.all()
        ]
    show_rows(found, as_json, "No models yet: `coderack model add PATH --name NAME` registers one.")


@app.command()
def add(
    path: Annotated[Path, typer.Argument(help="A directory with safetensors weights, tokenizer and manifest.json.")],
    name: Annotated[str, typer.Option(help="The id that tenants use.")],
    preset_name: Annotated[str, typer.Option("--preset", help="The catalog's preset for its architecture.")] = "",
    max_model_len: Annotated[
        int | None, typer.Option(help="Tokens of context to serve. Default: the preset's, without one 4096.", min=16)
    ] = None,
    fim: Annotated[bool, typer.Option("--fim", help="The model was trained to fill in the middle.")] = False,
    as_json: AsJson = False,
) -> None:
    """Verify weights against their manifest and register them."""
    from ops.models.checkpoint import gaps  # noqa: PLC0415
    from ops.models.manifest import read, verify  # noqa: PLC0415 - reads gigabytes, only here

    try:
        context = max_model_len or default_context(preset_name)
    except CatalogError as error:
        raise fail(str(error), Exit.USAGE) from error
    if not path.is_dir():
        raise fail(f"{path} is no directory", Exit.USAGE)
    problems = list(dict.fromkeys([*verify(path), *gaps(path)]))
    if problems:
        raise fail("these weights are not accepted:\n  " + "\n  ".join(problems) + f"\n{MEND}")
    if fim and not _fills_in(path):
        raise fail("these weights don't fill in the middle: their tokenizer lacks one of the three tokens for it")
    with rows():
        from appliance.first_rows import register_model  # noqa: PLC0415

        row = register_model(name, path.resolve(), read(path).digest, preset_name, context, fim)
    show_done(_registered(row), as_json, f"{row.name} registered ({row.digest[:12]})")


def _fills_in(path: Path) -> bool:
    from inference.gateway import fim_tokens  # noqa: PLC0415 - the tokenizers' library takes a moment
    from inference.gateway.tokens import load  # noqa: PLC0415

    return fim_tokens.read(path, load(path / "tokenizer.json")) is not None


@app.command()
@app.command("deploy")
def serve(
    name: Annotated[str, typer.Argument(help="A registered model.")],
    replicas: Annotated[int, typer.Option(help="How many engines.", min=1, max=64)] = 1,
    devices_each: Annotated[
        int | None, typer.Option(help="Devices per engine. Default: the profile's, without one 1.", min=1, max=64)
    ] = None,
    profile: Annotated[
        str, typer.Option(help="The preset's flags for some hardware, none for no such flags. Default: for this box's.")
    ] = "",
    flag: Annotated[
        list[str] | None, typer.Option(help="An engine flag, for instance --flag=--max-num-seqs=8.")
    ] = None,
    digest: Annotated[
        str,
        typer.Option(
            help="A version by the beginning of its digest. Default: the one that served last, or the newest."
        ),
    ] = "",
    slot_name: Annotated[
        str,
        typer.Option(
            "--slot", help="An engine slot, as `engine list` shows it. Default: the one it runs in, else the newest."
        ),
    ] = "",
    sequences: Annotated[
        int,
        typer.Option(help="Requests of full context that must fit an engine at once; fewer memory is refused.", min=1),
    ] = 1,
    placement: PlacementOption = DEFAULT,
    device: DeviceOption = None,
    as_json: AsJson = False,
) -> None:
    """Serve a model: the pool starts its engines, and replaces one by one those that run in another way."""
    with rows():
        from appliance.fleet import deployments  # noqa: PLC0415
        from appliance.fleet.fit import refuse_misfit  # noqa: PLC0415
        from appliance.fleet.models import Deployment  # noqa: PLC0415

        model = _version(name, digest)
        if model is None:
            raise fail(f"there is no model {name!r}; `coderack model list` shows the models", Exit.NOT_FOUND)
        slot = slot_named(slot_name) if slot_name else deployments.slot_of_name(name)
        if slot is None:
            raise fail("there is no engine slot yet; `coderack engine install` makes one", Exit.NOT_FOUND)
        chosen = _profile(model.preset, profile)
        flags = (*(flags_for(*chosen) if chosen else ()), *(flag or ()))
        each = devices_each or (profile_for(*chosen).devices if chosen else 1)
        with told():
            name_of_profile = chosen[1] if chosen else ""
            refuse_misfit(model, flags, each, name_of_profile, sequences)
            if slot_name:
                deployments.refuse_flavour(slot)
            stale = deployments.serve(model, slot, flags, replicas, each, where(placement, device), name_of_profile)
        row = Deployment.objects.select_related("model", "slot").get(model=model, running=True)
        facts, short = deployed(row), short_of(row)
    wanted = f"{name}: {replicas} replicas wanted; `coderack status` shows them come up"
    show_done(facts | {"stale": stale, "short": short}, as_json, wanted)
    if not as_json:
        tell_short(short)
    if stale and not as_json:
        typer.echo(OUTDATED)


def _profile(preset_name: str, asked: str) -> tuple[Preset, str] | None:
    """The preset and the profile to take flags from: the one asked for, else that of this box's cards."""
    if asked == "none" or not (preset_name or asked):
        return None
    try:
        found = preset(preset_name)
        name = asked or hardware_of(_cards())
        profile_for(found, name)
    except (CatalogError, DeviceError) as error:
        raise fail(
            f"{error}; `--profile` names one, and `--profile none` takes no flags from the preset", Exit.USAGE
        ) from None
    return found, name


def _cards() -> list[DeviceInfo]:
    """The devices as the pool saw them; where it never ran, as they are."""
    from appliance.fleet.models import Device  # noqa: PLC0415

    seen = [DeviceInfo(d.id, d.kind, d.name, d.memory_bytes) for d in Device.objects.all()]
    kind, _, count = load().devices.partition(":")
    return seen or detect(kind, int(count) if count else None)


def _version(name: str, digest: str) -> ModelVersion | None:
    from appliance.fleet.deployments import version_to_serve  # noqa: PLC0415
    from appliance.registry.models import ModelVersion  # noqa: PLC0415

    if not digest:
        return version_to_serve(name)
    found = ModelVersion.objects.filter(name=name, digest__startswith=digest)
    if found.count() != 1:
        told = "several versions begin" if found else "no version begins"
        raise fail(f"{told} with {digest!r}; `coderack model list` shows them", Exit.NOT_FOUND)
    return found.get()


def _registered(row: ModelVersion) -> dict[str, object]:
    return {
        "name": row.name, "digest": row.digest, "preset": row.preset, "path": row.path, "context": row.max_model_len,
        "fim": row.fim,
    }  # fmt: skip
