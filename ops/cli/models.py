"""`coderack model`: register verified weights, serve them, stop serving them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inference.catalog.errors import CatalogError
from inference.catalog.flags import flags_for
from inference.catalog.load import preset
from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_rows

app = typer.Typer(help="Model versions and their deployments.", no_args_is_help=True)


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
            }
            for m in ModelVersion.objects.all()
        ]
    show_rows(found, as_json, "No models yet: `coderack model add PATH --name NAME` registers one.")


@app.command()
def add(
    path: Annotated[Path, typer.Argument(help="A directory with safetensors weights, tokenizer and manifest.json.")],
    name: Annotated[str, typer.Option(help="The id that tenants use.")],
    preset_name: Annotated[str, typer.Option("--preset", help="The catalog's preset for its architecture.")] = "",
    max_model_len: Annotated[int, typer.Option(help="Tokens of context to serve.", min=16)] = 4096,
    fim: Annotated[bool, typer.Option("--fim", help="The model was trained to fill in the middle.")] = False,
) -> None:
    """Verify weights against their manifest and register them."""
    from ops.models.manifest import read, verify  # noqa: PLC0415 - reads gigabytes, only here

    problems = verify(path)
    if problems:
        raise fail("these weights are not accepted:\n  " + "\n  ".join(problems))
    with rows():
        from appliance.first_rows import register_model  # noqa: PLC0415

        row = register_model(name, path.resolve(), read(path).digest, preset_name, max_model_len, fim)
    typer.echo(f"{row.name} registered ({row.digest[:12]})")


@app.command()
def serve(
    name: Annotated[str, typer.Argument(help="A registered model.")],
    replicas: Annotated[int, typer.Option(help="How many engines.", min=1, max=64)] = 1,
    devices_each: Annotated[int, typer.Option(help="Devices per engine.", min=1, max=64)] = 1,
    profile: Annotated[str, typer.Option(help="The preset's flags for this hardware, for instance h20-96.")] = "",
    flag: Annotated[
        list[str] | None, typer.Option(help="An engine flag, for instance --flag=--max-num-seqs=8.")
    ] = None,
) -> None:
    """Serve a model: the pool starts its engines."""
    with rows():
        from appliance.fleet import deployments  # noqa: PLC0415
        from appliance.registry.models import EngineSlot, ModelVersion  # noqa: PLC0415

        model = ModelVersion.objects.filter(name=name).order_by("-created_at").first()
        slot = EngineSlot.objects.order_by("-created_at").first()
        if model is None or slot is None:
            raise fail(
                f"there is no model {name!r} or no engine slot; `coderack model list` shows the models", Exit.NOT_FOUND
            )
        flags = (*_preset_flags(model.preset, profile), *(flag or ()))
        stale = deployments.serve(model, slot, flags, replicas, devices_each)
    typer.echo(f"{name}: {replicas} replicas wanted; `coderack status` shows them come up")
    if stale:
        typer.echo("engines that run keep their old flags until `coderack model withdraw` and `serve`")


def _preset_flags(preset_name: str, profile: str) -> tuple[str, ...]:
    if not profile:
        return ()
    try:
        return flags_for(preset(preset_name), profile)
    except CatalogError as error:
        raise fail(str(error), Exit.USAGE) from None


@app.command()
def withdraw(name: Annotated[str, typer.Argument(help="A served model.")]) -> None:
    """Stop serving a model: its replicas drain and end, its weights stay."""
    with rows():
        from appliance.fleet import deployments  # noqa: PLC0415

        withdrawn = deployments.withdraw(name)
    if not withdrawn:
        raise fail(f"{name!r} is not served", Exit.NOT_FOUND)
    typer.echo(f"{name}: its replicas are draining")
