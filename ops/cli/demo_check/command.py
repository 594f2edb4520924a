"""The command: read a report, hold each step against the books, say what does not agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from appliance.env import load
from ops.cli.demo_check.claims import faults_of
from ops.cli.demo_check.evidence import Evidence
from ops.cli.printing import AsJson, Exit, fail, show_done, show_json


def demo_check(
    report: Annotated[Path | None, typer.Argument(help="A report.json. Default: that of the last demo.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check the last demo's report against the database and the files."""
    env = load()
    path = report or env.data_dir / "demo" / "report.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise fail(f"there is no {path}: `make demo` writes it", Exit.NOT_FOUND) from None
    except (OSError, ValueError) as error:
        raise fail(f"{path} can't be read: {error}", Exit.USAGE) from None
    try:
        with psycopg.connect(env.database_dsn(), connect_timeout=5) as connection:
            connection.read_only = True
            faults = faults_of(content, Evidence(connection, env.data_dir))
    except psycopg.OperationalError as error:
        reason = str(error).splitlines()[0]
        raise fail(f"the database doesn't answer ({reason}); is the appliance running?", Exit.NOT_RUNNING) from None
    if faults:
        if as_json:
            show_json({"ok": False, "report": path, "faults": faults})
        raise fail("\n".join(faults))
    checked = f"checked: {len(content['steps'])} steps, each with its evidence"
    show_done({"ok": True, "report": path, "faults": []}, as_json, checked)
