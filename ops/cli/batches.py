"""`coderack batch`: the tenants' batches as an operator sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_done, show_facts, show_rows

if TYPE_CHECKING:
    from appliance.batches.models import Batch

app = typer.Typer(help="Batches of all tenants.", no_args_is_help=True)
BatchId = Annotated[str, typer.Argument(help="The batch's id.")]


@app.command("list")
def list_batches(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List batches, newest first."""
    with rows():
        from appliance.batches.models import Batch  # noqa: PLC0415 - after Django's setup

        found = Batch.objects.all()
        chosen = (found.filter(tenant_id=tenant) if tenant else found)[:limit]
        lines = [
            {
                "id": batch.pk,
                "tenant": batch.tenant_id,
                "status": batch.status,
                "model": batch.model or None,
                "lines": batch.num_lines,
                "completed": batch.num_completed,
                "failed": batch.num_failed,
                "created": f"{batch.created_at:%Y-%m-%d %H:%M:%S}Z",
            }
            for batch in chosen
        ]
    show_rows(lines, as_json, "No batches yet.")


@app.command()
def show(batch_id: BatchId, as_json: AsJson = False) -> None:
    """Show one batch: how far it is, what it waits for, its files and errors."""
    with rows():
        facts = _facts(_batch(batch_id))
    show_facts(facts, as_json)


@app.command()
def cancel(batch_id: BatchId, as_json: AsJson = False) -> None:
    """Cancel a batch that is not over."""
    with rows():
        from appliance.batches import batches  # noqa: PLC0415
        from appliance.batches.errors import BatchRefused  # noqa: PLC0415

        try:
            batches.cancel(_batch(batch_id))
        except BatchRefused as error:
            raise fail(str(error)) from None
        facts = _facts(_batch(batch_id))
    show_done(facts, as_json, f"{batch_id} is being cancelled; what runs is waited for")


def _batch(batch_id: str) -> Batch:
    from appliance.batches.models import Batch  # noqa: PLC0415

    found = Batch.objects.filter(pk=batch_id).first()
    if found is None:
        raise fail(f"there is no batch {batch_id!r}; `coderack batch list` shows them", Exit.NOT_FOUND)
    return found


def _facts(batch: Batch) -> dict[str, Any]:
    return {
        "id": batch.pk,
        "tenant": batch.tenant_id,
        "status": batch.status,
        "note": batch.note or None,
        "endpoint": batch.endpoint,
        "model": batch.model or None,
        "lines": batch.num_lines,
        "completed": batch.num_completed,
        "failed": batch.num_failed,
        "input_tokens": batch.input_tokens,
        "output_tokens": batch.output_tokens,
        "input_file": batch.input_file_id,
        "output_file": batch.output_file_id,
        "error_file": batch.error_file_id,
        "attempts": batch.fence,
        "created": batch.created_at,
        "expires": batch.expires_at,
        "errors": batch.errors,
    }
