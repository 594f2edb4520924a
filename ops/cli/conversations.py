"""`coderack conversations`: which tenants have their prompts and answers kept, and an operator's look into them, with a reason.

What a tenant's owner does in the console, an operator does here only on that tenant's behalf: the audit log has the reason.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_done, show_facts, show_rows

if TYPE_CHECKING:
    from appliance.conversations.models import Conversation, ConversationLog
    from appliance.tenants.models import Tenant

app = typer.Typer(help="Prompts and answers that tenants asked to have kept.", no_args_is_help=True)
TenantId = Annotated[str, typer.Argument(help="The tenant's id.")]
Reason = Annotated[str, typer.Option(help="Who asked for it and why, for the audit log.")]


@app.command()
def status(as_json: AsJson = False) -> None:
    """List the tenants that have, or had, their conversations kept."""
    with rows():
        from appliance.conversations.models import ConversationLog  # noqa: PLC0415 - after Django's setup

        found = [_state(row) for row in ConversationLog.objects.order_by("tenant_id")]
    show_rows(found, as_json, "No tenant has its conversations kept.")


@app.command()
def on(
    tenant: TenantId,
    reason: Reason,
    days: Annotated[int, typer.Option(help="How long each is readable.", min=1, max=90)] = 30,
    max_mib: Annotated[int, typer.Option(help="How much is kept at most, in MiB.", min=64, max=1048576)] = 1024,
    as_json: AsJson = False,
) -> None:
    """Keep a tenant's prompts and answers from now on, or change for how long."""
    with rows():
        from appliance.conversations import acts  # noqa: PLC0415
        from appliance.conversations.errors import NotForSystem  # noqa: PLC0415

        try:
            facts = _state(acts.turn_on(_tenant(tenant), days, max_mib, _told(reason)))
        except NotForSystem as error:
            raise fail(str(error), Exit.USAGE) from None
    show_done(facts, as_json, f"{tenant}: prompts and answers are kept for {days} days")


@app.command()
def off(tenant: TenantId, reason: Reason, as_json: AsJson = False) -> None:
    """Keep nothing more; what is there stays until its time is over or it is erased."""
    with rows():
        from appliance.conversations import acts  # noqa: PLC0415

        row = _tenant(tenant)
        acts.turn_off(row, _told(reason))
        facts = _state(acts.log_of(row))
    show_done(facts, as_json, f"{tenant}: nothing is kept from now on")


@app.command("list")
def list_conversations(
    tenant: TenantId,
    reason: Reason,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List a tenant's kept conversations, newest first, without their texts."""
    with rows():
        from appliance.conversations import acts, reading  # noqa: PLC0415

        row = _tenant(tenant)
        chosen = list(reading.readable(row).order_by("-at", "-request_id")[:limit])
        acts.record_read(row, "list", tenant, _told(reason), number=len(chosen))
        found = [reading.facts(one) for one in chosen]
    show_rows(found, as_json, f"Nothing of {tenant} is kept.")


@app.command()
def show(
    tenant: TenantId,
    request_id: Annotated[str, typer.Argument(help="The request's id.")],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Show one conversation whole."""
    with rows():
        from appliance.conversations import acts, reading  # noqa: PLC0415

        row = _tenant(tenant)
        found: Conversation | None = reading.readable(row).filter(pk=request_id).first()
        if found is None:
            raise fail(f"no conversation {request_id!r} of {tenant} is kept", Exit.NOT_FOUND)
        acts.record_read(row, "read", request_id, _told(reason))
        facts = reading.whole(found)
    show_facts(facts, as_json)


@app.command()
def export(
    tenant: TenantId,
    reason: Reason,
    to: Annotated[Path | None, typer.Option(help="A new file. Default: standard output.")] = None,
) -> None:
    """Write all kept conversations of a tenant as JSON lines."""
    with rows():
        from appliance.conversations import acts, reading  # noqa: PLC0415

        row, why = _tenant(tenant), _told(reason)
        try:
            target = _new_file(to) if to is not None else nullcontext(sys.stdout.buffer)
        except OSError as error:
            raise fail(f"{to} can't be written: {error.strerror}", Exit.USAGE) from None
        with target as file:
            acts.record_read(row, "export", tenant, why, number=reading.readable(row).count())
            file.writelines(reading.lines(row))
            file.flush()


@app.command()
def erase(tenant: TenantId, reason: Reason, as_json: AsJson = False) -> None:
    """Erase all kept conversations of a tenant and their keys, for good."""
    with rows():
        from appliance.conversations import acts  # noqa: PLC0415
        from appliance.conversations.errors import NoLog  # noqa: PLC0415

        try:
            count = acts.erase(_tenant(tenant), _told(reason))
        except NoLog as error:
            raise fail(str(error), Exit.NOT_FOUND) from None
        except OSError as error:
            raise fail(f"some files are still there ({error}); the meter goes on within a minute") from None
    show_done({"tenant": tenant, "erased": count}, as_json, f"{tenant}: {count} conversations erased")


def _new_file(path: Path) -> AbstractContextManager[BinaryIO]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _told(reason: str) -> str:
    if not reason.strip():
        raise fail("say who asked for it and why: --reason", Exit.USAGE)
    return reason.strip()[:500]


def _tenant(tenant: str) -> Tenant:
    from appliance.tenants.models import Tenant  # noqa: PLC0415

    found = Tenant.objects.filter(pk=tenant).first()
    if found is None:
        raise fail(f"there is no tenant {tenant!r}; `coderack tenant list` shows them", Exit.NOT_FOUND)
    return found


def _state(row: ConversationLog) -> dict[str, Any]:
    from appliance.conversations.models import Conversation  # noqa: PLC0415

    return {
        "tenant": row.tenant_id,
        "kept": row.is_on,
        "days": row.days,
        "max_mib": row.max_mib,
        "since": row.changed_at.isoformat(timespec="seconds") if row.changed_by else None,
        "by": row.changed_by or None,
        "conversations": Conversation.objects.filter(tenant_id=row.tenant_id).count(),
    }
