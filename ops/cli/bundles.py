"""`coderack bundle`: make keys, build signed offline bundles, look at them, verify them, import them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from appliance.env import load
from inference.catalog.errors import CatalogError
from inference.catalog.load import default_context
from ops.bundle.errors import BundleError, BundleRefused, NoTrust
from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, out, show_done, show_json, show_rows

app = typer.Typer(help="Signed offline bundles.", no_args_is_help=True)
BundlePath = Annotated[Path, typer.Argument(help="A bundle's directory.")]
RootFile = Annotated[Path | None, typer.Option("--root", help="The signer's root.json. Default: the installed one.")]
TRUST = "trust"


@app.command()
def keygen(
    directory: Annotated[Path, typer.Argument(help="A new directory for the keys.")],
    root_keys: Annotated[int, typer.Option(help="How many root keys.", min=1, max=9)] = 1,
    threshold: Annotated[int, typer.Option(help="How many of them must sign a root.", min=1, max=9)] = 1,
    root_days: Annotated[int, typer.Option(help="Days until the root expires.", min=1, max=36500)] = 3650,
    as_json: AsJson = False,
) -> None:
    """Make the keys that sign bundles, and the root that machines trust."""
    from ops.bundle.keys import make_keys  # noqa: PLC0415 - the cryptography is loaded where it is used

    with told():
        expires = datetime.now(UTC) + timedelta(days=root_days)
        make_keys(directory, root_keys=root_keys, threshold=threshold, root_expires=expires)
    show_done(
        {"root": f"{directory}/root.json", "offline": f"{directory}/offline", "expires": expires},
        as_json,
        f"{directory}/root.json: give it to every machine that shall trust these keys, not on the bundles' disk\n"
        f"{directory}/offline: the root's own keys; move them to a safe place, builds do without",
    )


@app.command()
def build(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The bundle's new directory.")],
    keys: Annotated[Path, typer.Option(help="A directory that `keygen` made.")],
    model: Annotated[Path, typer.Option(help="A model directory with its manifest.json.")],
    name: Annotated[str, typer.Option(help="The id that tenants use. Default: the manifest's name.")] = "",
    preset: Annotated[str, typer.Option(help="The catalog's preset for its architecture.")] = "",
    max_model_len: Annotated[
        int | None, typer.Option(help="Tokens of context to serve. Default: the preset's, without one 4096.", min=16)
    ] = None,
    fim: Annotated[bool, typer.Option("--fim", help="The model was trained to fill in the middle.")] = False,
    engine_flavour: Annotated[str | None, typer.Option(help="The engine it was tried with: cuda, ascend, cpu.")] = None,
    engine_version: Annotated[str | None, typer.Option(help="That engine's version.")] = None,
    days: Annotated[int, typer.Option(help="Days until the bundle expires.", min=1, max=3650)] = 90,
    as_json: AsJson = False,
) -> None:
    """Verify a model directory and write it as a signed bundle."""
    from ops.bundle.build import Wanted, build  # noqa: PLC0415
    from ops.bundle.keys import load_keys  # noqa: PLC0415

    with told():
        wanted = Wanted(name, preset, max_model_len or _context(preset), fim, engine_flavour, engine_version)
        loaded = load_keys(keys)
        about = build(target, loaded, model, wanted, now=datetime.now(UTC), lifetime=timedelta(days=days))
    show_done(
        {"path": target, "name": about.name, "digest": about.digest, "days": days},
        as_json,
        f"{target}: {about.name} ({about.digest[:12]}), to be accepted for {days} days",
    )


@app.command()
def show(path: BundlePath, as_json: AsJson = False) -> None:
    """Show what a bundle says about itself, without verifying it."""
    from ops.bundle.look import look  # noqa: PLC0415

    with told():
        facts = look(path)
    if as_json:
        show_json(facts)
        return
    metadata, needs = facts.pop("metadata"), facts.pop("requirements")
    for key, value in (facts | needs).items():
        out.print(f"{key.replace('_', ' '):16} {'–' if value in ('', None) else value}", markup=False)
    show_rows(metadata, False, "no metadata")
    out.print("not verified: `coderack bundle verify` does that", markup=False)


@app.command()
def verify(path: BundlePath, root: RootFile = None, as_json: AsJson = False) -> None:
    """Verify a bundle: signatures, expiry, versions, every byte of every file."""
    from ops.bundle.trust import TrustStore  # noqa: PLC0415
    from ops.bundle.verify import describe, verify_for  # noqa: PLC0415

    with told():
        store = TrustStore(load().data_dir / TRUST)
        try:
            bundle = verify_for(store, path, _read(root), datetime.now(UTC))
        except BundleRefused as error:
            if as_json:
                show_json({"ok": False, "faults": error.faults, "bundle": None})
            raise
    if as_json:
        show_json({"ok": True, "faults": [], "bundle": describe(bundle)})
    else:
        typer.echo(f"{path}: {bundle.about.name} ({bundle.about.digest[:12]}) is whole and signed by trusted keys")


@app.command("import")
def import_bundle(path: BundlePath, root: RootFile = None, as_json: AsJson = False) -> None:
    """Verify a bundle, copy its model to this machine and register it."""
    from ops.bundle.bring import bring  # noqa: PLC0415
    from ops.bundle.trust import TrustStore  # noqa: PLC0415
    from ops.bundle.verify import accept  # noqa: PLC0415

    env = load()
    with told():
        bundle = accept(TrustStore(env.data_dir / TRUST), path, _read(root), datetime.now(UTC))
        model = bring(bundle, env.cache_dir)
    about = bundle.about
    with rows():
        from appliance.first_rows import register_model  # noqa: PLC0415 - after Django's setup

        register_model(
            about.name, model, about.digest, about.preset, about.max_model_len, about.fim, action="bundle.import"
        )
    show_done(
        {"path": model, "name": about.name, "digest": about.digest},
        as_json,
        f"{model}: {about.name} registered ({about.digest[:12]})",
    )


def _context(preset: str) -> int:
    try:
        return default_context(preset)
    except CatalogError as error:
        raise fail(str(error), Exit.USAGE) from None


@contextmanager
def told() -> Iterator[None]:
    """What a bundle or a disk refuses, as lines on standard error and an exit code."""
    try:
        yield
    except NoTrust as error:
        raise fail(str(error), Exit.USAGE) from None
    except (BundleError, OSError) as error:
        raise fail(str(error)) from None


def _read(root: Path | None) -> bytes | None:
    return None if root is None else root.read_bytes()
