"""`coderack audit`: who did what, and whether the log of it is as it was written."""

from __future__ import annotations

import json
from itertools import islice
from typing import Annotated

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, fail, show_json, show_rows

app = typer.Typer(help="The audit log.", no_args_is_help=True)
MOST_FAULTS = 1000  # told at once: a log that was rewritten from its beginning has one at each entry


@app.command("list")
def list_entries(
    tenant: Annotated[str, typer.Option(help="Only what concerns this tenant.")] = "",
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List acts, newest first."""
    with rows():
        from appliance.audit.models import AuditEntry  # noqa: PLC0415 - after Django's setup

        found = AuditEntry.objects.order_by("-seq")
        lines = [
            {
                "seq": entry.seq,
                "at": f"{entry.at:%Y-%m-%d %H:%M:%S}Z",
                "actor": entry.actor,
                "action": entry.action,
                "subject": entry.subject,
                "tenant": entry.tenant_id,
                "details": entry.details if as_json else json.dumps(entry.details, ensure_ascii=False),
            }
            for entry in (found.filter(tenant_id=tenant) if tenant else found)[:limit]
        ]
    show_rows(lines, as_json, "No acts yet.")


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Verify the log: every entry's hash, their order, and the heads kept outside the database."""
    with rows():
        from django.db import DataError  # noqa: PLC0415

        from appliance.audit.models import AuditEntry  # noqa: PLC0415
        from appliance.audit.stored import faults, head_path  # noqa: PLC0415

        try:
            found = list(islice(faults(), MOST_FAULTS))
        except OSError as error:
            raise fail(f"{head_path()} can't be read: {error.strerror}") from None
        except DataError as error:  # a time that none is: nothing of ours writes it
            raise fail(f"an entry can't be read, so that it was edited: {error}") from None
        newest = AuditEntry.objects.order_by("-seq").first()
    head = {"seq": newest.seq, "hash": newest.hash} if newest else None
    if as_json:
        told = [{"kind": fault.kind.value, "seq": fault.seq, "message": fault.message} for fault in found]
        show_json({"ok": not found, "head": head, "faults": told})
    if found:
        raise fail("\n".join(fault.message for fault in found))
    if not as_json:
        typer.echo(
            f"whole: {newest.seq} entries, the newest with the hash {newest.hash}" if newest else "whole: no entries"
        )
