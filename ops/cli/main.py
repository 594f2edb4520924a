"""The coderack command: `coderack --help` lists everything; docs/cli.md describes it and is checked against this tree."""

from __future__ import annotations

import sys

import typer

from appliance.env import EnvError
from ops.cli import (
    acceptance,
    adapters,
    aliases,
    audit,
    backup,
    batches,
    bundles,
    calibrate,
    capacity,
    conversations,
    data,
    devices,
    engines,
    jobs,
    keys,
    ledger,
    models,
    plans,
    preflight,
    start_stop,
    status,
    support,
    tenants,
    up,
    upgrades,
    users,
    version,
    worker,
)
from ops.cli.demo.command import demo
from ops.cli.demo_check.command import demo_check
from ops.cli.doctor.command import doctor
from ops.cli.printing import Exit, err, error_json

app = typer.Typer(
    name="coderack",
    help="Run and operate a private coding-model appliance.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(up.up)
app.command()(start_stop.start)
app.command()(start_stop.stop)
app.command()(worker.worker)
app.command()(status.status)
app.command()(devices.devices)
app.command()(demo)
app.command("demo-check")(demo_check)
app.command()(backup.backup)
app.command()(backup.restore)
app.command("support-bundle")(support.support_bundle)
app.command("plan-capacity")(capacity.plan_capacity)
app.command("calibrate-capacity")(calibrate.calibrate_capacity)
app.command()(doctor)
app.command()(version.version)
app.add_typer(plans.app, name="plan")
app.add_typer(tenants.app, name="tenant")
app.add_typer(users.app, name="user")
app.add_typer(keys.app, name="key")
app.add_typer(models.app, name="model")
app.add_typer(engines.app, name="engine")
app.add_typer(jobs.app, name="job")
app.add_typer(adapters.app, name="adapter")
app.add_typer(aliases.app, name="alias")
app.add_typer(batches.app, name="batch")
app.add_typer(data.app, name="data")
app.add_typer(conversations.app, name="conversations")
app.add_typer(bundles.app, name="bundle")
app.command()(preflight.preflight)
app.add_typer(upgrades.app, name="upgrade")
app.command()(upgrades.rollback)
app.add_typer(acceptance.app, name="acceptance")
app.add_typer(audit.app, name="audit")
app.add_typer(ledger.app, name="ledger")


def run() -> None:
    """The console script: settings and arguments that can't be used are a message, for scripts as JSON, not a traceback."""
    for_scripts = "--json" in sys.argv[1:]
    try:
        status_code = app(standalone_mode=not for_scripts)
    except EnvError as error:
        if for_scripts:
            typer.echo(error_json(str(error), Exit.USAGE), err=True)
        else:
            err.print(str(error), style="red", markup=False)
        sys.exit(int(Exit.USAGE))
    except typer.TyperException as error:  # only where scripts read: else typer has told it and ended
        typer.echo(error_json(error.format_message(), Exit.USAGE), err=True)
        sys.exit(int(Exit.USAGE))
    except typer.Abort:  # Ctrl-C
        typer.echo(error_json("interrupted", Exit.FAILED), err=True)
        sys.exit(int(Exit.FAILED))
    sys.exit(status_code or 0)


if __name__ == "__main__":
    run()
