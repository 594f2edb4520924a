"""The coderack command: `coderack --help` lists everything; docs/cli.md describes it and is checked against this tree."""

from __future__ import annotations

import sys

import typer

from appliance.env import EnvError
from ops.cli import (
    adapters,
    audit,
    bundles,
    capacity,
    jobs,
    keys,
    models,
    plans,
    start_stop,
    status,
    tenants,
    up,
    users,
)
from ops.cli.demo.command import demo
from ops.cli.demo_check.command import demo_check
from ops.cli.printing import Exit, err

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
app.command()(status.status)
app.command()(demo)
app.command("demo-check")(demo_check)
app.command("plan-capacity")(capacity.plan_capacity)
app.add_typer(plans.app, name="plan")
app.add_typer(tenants.app, name="tenant")
app.add_typer(users.app, name="user")
app.add_typer(keys.app, name="key")
app.add_typer(models.app, name="model")
app.add_typer(jobs.app, name="job")
app.add_typer(adapters.app, name="adapter")
app.add_typer(bundles.app, name="bundle")
app.add_typer(audit.app, name="audit")


def run() -> None:
    """The console script: settings that can't be used are a message, not a traceback."""
    try:
        app()
    except EnvError as error:
        err.print(str(error), style="red", markup=False)
        sys.exit(int(Exit.USAGE))


if __name__ == "__main__":
    run()
