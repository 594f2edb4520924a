"""`coderack upgrade` and `coderack rollback`: a served model's next version from a signed bundle, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.env import load
from ops.bundle.errors import NoTrust
from ops.cli.bundles import TRUST, BundlePath, RootFile, told
from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, progress_aside, show_done, show_facts, show_rows

if TYPE_CHECKING:
    from appliance.operations.models import Upgrade, UpgradeStep
    from appliance.operations.upgrades import Watch

app = typer.Typer(help="Upgrades of served models from signed bundles.", no_args_is_help=True)
TrustDirectory = Annotated[
    Path | None,
    typer.Option(
        "--trust", help="Where the trusted root and accepted versions are kept. Default: trust in the data directory."
    ),
]
Interrupt = Annotated[
    bool, typer.Option("--interrupt", help="Agree that the name answers 503 meanwhile where devices are short.")
]
WithoutAdapters = Annotated[
    bool,
    typer.Option("--without-adapters", help="Agree that adapters on the present version are not served meanwhile."),
]


@app.command()
def plan(
    path: BundlePath,
    root: RootFile = None,
    trust: TrustDirectory = None,
    interrupt: Interrupt = False,
    without_adapters: WithoutAdapters = False,
    canary: Annotated[
        int, typer.Option(help="Percent of the name's requests that the new version answers first.", min=0, max=50)
    ] = 0,
    canary_minutes: Annotated[int, typer.Option(help="For how long.", min=1, max=10080)] = 30,
    as_json: AsJson = False,
) -> None:
    """Verify and accept a bundle, and plan the upgrade to its version."""
    with rows(), upgrading():
        from appliance.operations import upgrades  # noqa: PLC0415 - after Django's setup
        from ops.upgrade.preflight import Allowed  # noqa: PLC0415

        trial = upgrades.Trial(canary, canary_minutes) if canary else None
        upgrade = upgrades.plan(path, trust_of(trust), read(root), Allowed(interrupt, without_adapters), trial)
        facts = _facts(upgrade)
    line = (
        f"{upgrade.name}: {upgrade.from_model.digest[:12]} → {upgrade.digest[:12]}, {upgrade.strategy} the old version"
    )
    show_done(facts, as_json, f"{line}\n`coderack upgrade apply {str(upgrade.pk)[:8]}` does it")


@app.command()
def apply(
    upgrade_id: Annotated[str, typer.Argument(metavar="[ID]", help="Default: the newest plan.")] = "",
    as_json: AsJson = False,
) -> None:
    """Apply a planned upgrade; one that fails is taken back by itself."""
    with rows(), upgrading(), progress_aside(as_json):
        from appliance.operations import upgrades  # noqa: PLC0415

        upgrade = upgrades.apply(upgrades.find(upgrade_id), _watch())
        facts = _facts(upgrade)
    _ended(upgrade, facts, as_json)


@app.command()
def resume(
    undo: Annotated[bool, typer.Option("--undo", help="Take it back instead of going on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Go on with an upgrade that was interrupted, or that could not be taken back."""
    with rows(), upgrading(), progress_aside(as_json):
        from appliance.operations import upgrades  # noqa: PLC0415

        upgrade = upgrades.resume(_watch(), back=undo)
        facts = _facts(upgrade)
    _ended(upgrade, facts, as_json)


def rollback(
    name: Annotated[str, typer.Argument(help="A served model.")],
    interrupt: Interrupt = False,
    without_adapters: WithoutAdapters = False,
    as_json: AsJson = False,
) -> None:
    """Go back to the version that the last upgrade of a model replaced."""
    with rows(), upgrading(), progress_aside(as_json):
        from appliance.operations import upgrades  # noqa: PLC0415
        from ops.upgrade.preflight import Allowed  # noqa: PLC0415

        upgrade = upgrades.rollback(name, Allowed(interrupt, without_adapters, repair=True), _watch())
        facts = _facts(upgrade)
    _ended(upgrade, facts, as_json)


@app.command("list")
def list_upgrades(as_json: AsJson = False) -> None:
    """List upgrades, newest first."""
    with rows():
        from appliance.operations.models import Upgrade  # noqa: PLC0415

        lines = [_line(row) for row in Upgrade.objects.select_related("from_model")]
    show_rows(lines, as_json, "No upgrades yet: `coderack upgrade plan BUNDLE` plans one.")


@app.command()
def show(
    upgrade_id: Annotated[str, typer.Argument(metavar="ID", help="Or its beginning.")], as_json: AsJson = False
) -> None:
    """Show one upgrade with its steps."""
    with rows(), upgrading():
        from appliance.operations import upgrades  # noqa: PLC0415

        facts = _facts(upgrades.find(upgrade_id))
    show_facts(facts, as_json)


@contextmanager
def upgrading() -> Iterator[None]:
    """What an upgrade refuses, as lines on standard error and an exit code; and what to do after an interruption."""
    from django.db import Error, OperationalError  # noqa: PLC0415

    from appliance.operations.errors import NoSuchUpgrade, UpgradeBusy  # noqa: PLC0415
    from ops.upgrade.errors import UpgradeError  # noqa: PLC0415

    go_on = "`coderack upgrade resume` goes on with it"
    try:
        with told():
            yield
    except NoSuchUpgrade as error:
        raise fail(str(error), Exit.NOT_FOUND) from None
    except UpgradeBusy as error:
        raise fail(str(error), Exit.ALREADY_RUNNING) from None
    except UpgradeError as error:
        raise fail(str(error)) from None
    except KeyboardInterrupt:
        raise fail(f"interrupted: where an upgrade was being applied, {go_on}, and `--undo` takes it back") from None
    except OperationalError:
        raise
    except Error as error:
        raise fail(f"the database failed ({str(error).strip()}): where an upgrade was being applied, {go_on}") from None


def trust_of(given: Path | None) -> Path:
    """The directory of the trusted root."""
    return given.resolve() if given else load().data_dir / TRUST


def read(root: Path | None) -> bytes | None:
    """A root that was given."""
    try:
        return None if root is None else root.read_bytes()
    except OSError as error:
        raise NoTrust(f"{root} can't be read: {error.strerror}") from None


def _watch() -> Watch:
    """Tells a person each step's moves with the time they took, and what a step waits for."""
    from appliance.operations.upgrades import Watch  # noqa: PLC0415

    return Watch(moved=lambda step: typer.echo(_moved(step)), tell=lambda line: typer.echo(f"      {line}"))


def _moved(step: UpgradeStep) -> str:
    took = ""
    if step.state == "done" and step.started_at and step.finished_at:
        took = f" ({(step.finished_at - step.started_at).total_seconds():.1f} s)"
    again = f", try {step.attempts}" if step.state == "started" and step.attempts > 1 else ""
    why = f": {step.reason}" if step.reason and step.state in {"failed", "undoing"} else ""
    return f"  {step.name:10} {step.state}{again}{took}{why}"


def _ended(upgrade: Upgrade, facts: dict[str, Any], as_json: bool) -> None:
    """The end of an upgrade: only one that is done is a success."""
    if upgrade.state == "done":
        show_done(facts, as_json, f"{upgrade.name} is served by version {upgrade.digest[:12]}")
        return
    if upgrade.state == "undone":
        told = f"taken back, {upgrade.name} is served by version {upgrade.from_model.digest[:12]} as before"
    else:
        told = "it failed and could not be taken back: mend what the reason names, then `coderack upgrade resume`"
    raise fail(f"{upgrade.reason}\n{told}")


def _line(row: Upgrade) -> dict[str, Any]:
    return {
        "id": str(row.pk)[:8],
        "model": row.name,
        "from": row.from_model.digest[:12],
        "to": row.digest[:12],
        "kind": "rollback" if row.rollback else "upgrade",
        "strategy": row.strategy,
        "state": row.state,
        "planned": f"{row.created_at:%Y-%m-%d %H:%M:%S}Z",
        "by": row.created_by,
    }


def _facts(row: Upgrade) -> dict[str, Any]:
    steps = [
        {
            "name": step.name,
            "state": step.state,
            "attempts": step.attempts,
            "started": step.started_at,
            "finished": step.finished_at,
            "reason": step.reason,
            "detail": step.detail,
        }
        for step in row.steps.order_by("index")
    ]
    return _line(row) | {
        "id": str(row.pk),
        "from": row.from_model.digest,
        "to": row.digest,
        "source": row.source,
        "reason": row.reason,
        "started": row.started_at,
        "finished": row.finished_at,
        "steps": steps,
    }
