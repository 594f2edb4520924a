"""`coderack status`: what runs and on what, from the runner's lock and the database."""

from __future__ import annotations

from typing import Any

import typer

from appliance.env import load
from ops.cli.database import rows
from ops.cli.devices import device_rows, show_devices
from ops.cli.printing import AsJson, Exit, out, show_json, show_rows
from ops.runner.runner import runner_pid


def status(as_json: AsJson = False) -> None:
    """Show whether the appliance runs, its replicas, its boxes and its devices."""
    env = load()
    pid = runner_pid(env.run_dir)
    if pid is None and env.database_url is None:
        show_json(
            {"running": False, "replicas": [], "devices": [], "attached": [], "boxes": []}
        ) if as_json else out.print("not running; `make start` starts it")
        raise typer.Exit(int(Exit.NOT_RUNNING))
    with rows():
        from appliance.fleet.models import AttachedServer, Replica  # noqa: PLC0415 - after Django's setup
        from appliance.fleet.slots import slots_in_use  # noqa: PLC0415

        slots = slots_in_use()
        found = [
            {
                "model": r.deployment.model.name,
                "index": r.index,
                "state": r.state,
                "since": f"{r.state_since:%Y-%m-%d %H:%M:%S}Z",
                "devices": ",".join(r.devices),
                "slot": slots[r.pk].name if r.pk in slots else None,
                "engine": slots[r.pk].engine_version if r.pk in slots else None,
                "pid": r.life.pid if r.life else None,
                "restarts": r.restarts,
                "reason": r.reason or None,
            }
            for r in Replica.objects.select_related("deployment__model", "life")
        ]
        servers = [
            {"model": a.name, "server": a.url, "state": a.state, "since": f"{a.state_since:%Y-%m-%d %H:%M:%S}Z",
             "reason": a.reason or None}
            for a in AttachedServer.objects.all()
        ]  # fmt: skip
        held = device_rows()
        boxes = box_rows()
    if as_json:
        facts = {"running": pid is not None, "pid": pid, "base_url": f"{env.base_url}/v1"}
        show_json(facts | {"replicas": found, "devices": held, "attached": servers, "boxes": boxes})
        return
    out.print(
        f"running (pid {pid}), {env.base_url}/v1" if pid else "no runner here; the database answers", markup=False
    )
    show_rows(found, False, "No replicas yet.")
    if servers:
        out.print("\nattached", style="bold")
        show_rows(servers, False, "")
    if boxes:
        out.print("\nother boxes", style="bold")
        show_rows([{**box, "jobs": ", ".join(box["jobs"]) or None} for box in boxes], False, "")
    out.print()
    show_devices(held)


def box_rows() -> list[dict[str, Any]]:
    """Every box beside the home box: whether its worker was seen lately, what it works on, what it can't train and why."""
    from appliance.fleet.boxes import standing  # noqa: PLC0415 - after Django's setup
    from appliance.training.lease import working_on  # noqa: PLC0415

    return [
        {
            "box": box.pk,
            "state": "working" if alive else "silent",
            "machine": box.host,
            "seen": f"{box.seen_at:%Y-%m-%d %H:%M:%S}Z" if box.seen_at else None,
            "jobs": working_on(box.pk),
            "lacks": box.lacks or None,
        }
        for box, alive in standing()
    ]
