"""`coderack job`: the tenants' fine-tunes as an operator sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_done, show_facts, show_rows

if TYPE_CHECKING:
    from appliance.training.models import Job

app = typer.Typer(help="Fine-tunes of all tenants.", no_args_is_help=True)
LAST_EVENTS = 10
JobId = Annotated[str, typer.Argument(help="The job's id.")]


@app.command("list")
def list_jobs(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List fine-tunes, newest first."""
    with rows():
        from appliance.fleet.boxes import name_of  # noqa: PLC0415 - after Django's setup
        from appliance.training.models import Job  # noqa: PLC0415

        found = Job.objects.select_related("adapter", "base")
        chosen = (found.filter(tenant_id=tenant) if tenant else found)[:limit]
        lines = [
            {
                "id": job.id,
                "tenant": job.tenant_id,
                "base": job.base.name,
                "status": job.status,
                "box": name_of(job.box) if job.fence else None,
                "created": f"{job.created_at:%Y-%m-%d %H:%M:%S}Z",
                "model": job.adapter.name if job.adapter else None,
            }
            for job in chosen
        ]
    show_rows(lines, as_json, "No fine-tunes yet.")


@app.command()
def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show one fine-tune with its last events, checkpoints and checks."""
    with rows():
        from appliance.training.plan import in_words  # noqa: PLC0415 - after Django's setup

        facts = _facts(_job(job_id))
        if facts["plan"] and not as_json:
            facts["plan"] = in_words(facts["plan"])
    show_facts(facts, as_json)


@app.command()
def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Cancel a fine-tune that is not over."""
    with rows():
        from appliance.training import jobs  # noqa: PLC0415
        from appliance.training.errors import JobRefused  # noqa: PLC0415

        try:
            jobs.cancel(_job(job_id))
        except JobRefused as error:
            raise fail(str(error)) from None
        facts = _facts(_job(job_id))
    show_done(facts, as_json, f"{job_id} cancelled")


def _job(job_id: str) -> Job:
    from appliance.training.models import Job  # noqa: PLC0415

    found = Job.objects.filter(id=job_id).select_related("adapter", "base", "requested_by").first()
    if found is None:
        raise fail(f"there is no fine-tune {job_id!r}; `coderack job list` shows them", Exit.NOT_FOUND)
    return found


def _makeup(job: Job) -> dict[str, dict[str, int]]:
    """Rows of the training file by language and by licence; empty for chats, and for files that were cleaned before."""
    dataset = getattr(job.training_file, "dataset", None)
    report = dataset.report if dataset else {}
    counted = {"languages": "language", "licences": "licence"}
    return {
        part: {row[key]: row["kept"] for row in report.get(part, ()) if row["kept"]} for part, key in counted.items()
    }


def _facts(job: Job) -> dict[str, Any]:
    from appliance.fleet.boxes import name_of  # noqa: PLC0415
    from appliance.training import signing  # noqa: PLC0415

    events = job.events.order_by("-seq")[:LAST_EVENTS]
    return {
        "id": job.id,
        "tenant": job.tenant_id,
        "status": job.status,
        "error": job.error,
        "base": job.base.name,
        "model": job.adapter.name if job.adapter else None,
        "adapter_state": job.adapter.state if job.adapter else None,
        "policy": job.policy,
        "requested_by": job.requested_by.username if job.requested_by else None,
        "training_file": job.training_file_id,
        "validation_file": job.validation_file_id,
        "signoffs": signing.of_job(job),
        "waits_for_signoff": [file.pk for file in signing.unsigned(job)],
        **_makeup(job),
        "hyperparameters": job.hyperparameters,
        "plan": job.plan,
        "trained_tokens": job.trained_tokens,
        "device_s": round(job.device_s, 1),
        "fence": job.fence,
        "box": name_of(job.box) if job.fence else None,
        "created": job.created_at,
        "finished": job.finished_at,
        "events": [{"at": f"{e.created_at:%H:%M:%S}", "level": e.level, "message": e.message} for e in events][::-1],
        "checkpoints": [{"step": c.step, "fence": c.fence} for c in job.checkpoints.order_by("step")],
    }
