"""`coderack adapter`: fine-tuned adapters, the decision on those that wait for one, and taking them out of use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_done, show_facts, show_rows

if TYPE_CHECKING:
    from appliance.registry.models import Adapter

app = typer.Typer(help="Adapters that fine-tunes made.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The adapter's name, ft:…")]
By = Annotated[str, typer.Option("--by", help="The person who decides, by the name they log in with.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the decision.")]


@app.command("list")
def list_adapters(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "", as_json: AsJson = False
) -> None:
    """List adapters, newest first."""
    with rows():
        from appliance.fleet.merged import bases_that_merge, standing  # noqa: PLC0415 - after Django's setup
        from appliance.registry.models import Adapter  # noqa: PLC0415

        apart = bases_that_merge()
        found = Adapter.objects.select_related("base")
        lines = [
            {
                "name": a.name,
                "tenant": a.tenant_id,
                "state": a.state,
                "since": f"{a.state_since:%Y-%m-%d %H:%M:%S}Z",
                "engines": a.loads.filter(loaded=True, life__ended_at=None).count()
                + int(how is not None and how.served),
                "merged": "" if how is None else str(how),
                "pinned": a.pinned,
            }
            for a in (found.filter(tenant_id=tenant) if tenant else found)
            for how in (standing(a) if a.base_id in apart else None,)
        ]
    show_rows(lines, as_json, "No adapters yet: a fine-tune makes one.")


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show one adapter: where it comes from, its checks, who decided."""
    with rows():
        facts = _facts(_adapter(name))
    show_facts(facts, as_json, width=12)


@app.command()
def approve(name: Name, by: By, reason: Reason = "", as_json: AsJson = False) -> None:
    """Approve an adapter that waits; never by the person who asked for the fine-tune."""
    show_done(_decide(name, by, True, reason), as_json, f"{name} approved by {by}")


@app.command()
def reject(name: Name, by: By, reason: Reason = "", as_json: AsJson = False) -> None:
    """Reject an adapter that waits; its fine-tune then counts as failed."""
    show_done(_decide(name, by, False, reason), as_json, f"{name} rejected by {by}")


@app.command()
def withdraw(name: Name, as_json: AsJson = False) -> None:
    """Take an adapter out of use, for good; its files stay."""
    with rows():
        from appliance.training import adapters  # noqa: PLC0415
        from appliance.training.errors import AdapterRefused  # noqa: PLC0415

        try:
            used_by = adapters.withdraw(_adapter(name))
        except AdapterRefused as error:
            raise fail(str(error)) from None
        facts = _facts(_adapter(name)) | {"aliases": used_by}
    told = f"; aliases that had it: {', '.join(used_by)}" if used_by else ""
    show_done(facts, as_json, f"{name} withdrawn{told}")


@app.command()
def pin(name: Name, as_json: AsJson = False) -> None:
    """Have engines keep an adapter at hand, also while more others are asked for than they hold."""
    with rows():
        from appliance.training.errors import AdapterRefused  # noqa: PLC0415
        from appliance.training.pins import pin as keep  # noqa: PLC0415

        try:
            changed = keep(_adapter(name))
        except AdapterRefused as error:
            raise fail(str(error)) from None
        facts = _facts(_adapter(name))
    show_done(facts, as_json, f"{name} {'is pinned' if changed else 'was pinned already'}")


@app.command()
def unpin(name: Name, as_json: AsJson = False) -> None:
    """Let engines make room of an adapter's place again."""
    with rows():
        from appliance.training.pins import unpin as let_go  # noqa: PLC0415

        changed = let_go(_adapter(name))
        facts = _facts(_adapter(name))
    show_done(facts, as_json, f"{name} {'is no longer pinned' if changed else 'was not pinned'}")


def _decide(name: str, by: str, approved: bool, reason: str) -> dict[str, Any]:
    with rows():
        from appliance.tenants.models import User  # noqa: PLC0415
        from appliance.training.approvals import decide  # noqa: PLC0415
        from appliance.training.errors import ApprovalRefused  # noqa: PLC0415

        adapter = _adapter(name)
        user = User.objects.filter(username=by).first()
        if user is None:
            raise fail(f"there is no person {by!r}; `coderack user list` shows them", Exit.NOT_FOUND)
        try:
            decide(adapter, user, approved, reason)
        except ApprovalRefused as error:
            raise fail(str(error)) from None
        return _facts(_adapter(name))


def _adapter(name: str) -> Adapter:
    from appliance.registry.models import Adapter  # noqa: PLC0415

    found = Adapter.objects.filter(name=name).select_related("base").first()
    if found is None:
        raise fail(f"there is no adapter {name!r}; `coderack adapter list` shows them", Exit.NOT_FOUND)
    return found


def _facts(adapter: Adapter) -> dict[str, Any]:
    from appliance.fleet.merged import standing  # noqa: PLC0415 - after Django's setup

    evaluation = getattr(adapter, "evaluation", None)
    how = standing(adapter)
    approval = getattr(adapter, "approval", None)
    return {
        "name": adapter.name,
        "tenant": adapter.tenant_id,
        "state": adapter.state,
        "base": adapter.base.name,
        "digest": adapter.digest,
        "rank": adapter.rank,
        "pinned": adapter.pinned,
        "modules": ", ".join(adapter.target_modules),
        "path": adapter.path,
        "lineage": adapter.lineage,
        "merged": None if how is None else str(how),
        "verdict": evaluation.verdict if evaluation else None,
        "decision": str(approval) if approval else None,
        "checks": [
            {"name": c.get("name"), "verdict": c.get("verdict"), "reason": c.get("reason")}
            for c in (evaluation.checks if evaluation else [])
        ],
    }
