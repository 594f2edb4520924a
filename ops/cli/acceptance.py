"""`coderack acceptance`: put a load on, hold it against a target and the books, sign what came of it, verify that."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from appliance.env import load
from ops.acceptance.errors import AcceptanceError, BadWorkload
from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, err, fail, out, show_json, show_rows

if TYPE_CHECKING:
    from appliance.operations.models import AcceptanceRun

app = typer.Typer(help="Measured and signed acceptance of the box's throughput.", no_args_is_help=True)
SPARE_BYTES = 256 * 1024 * 1024
RunId = Annotated[str, typer.Argument(metavar="ID", help="The run's id, or its beginning.")]


@app.command("run")
def run_acceptance(
    model: Annotated[str, typer.Option(help="The model as tenants name it.")],
    input_tps: Annotated[float, typer.Option(help="Input tokens per second to reach.", min=0)],
    output_tps: Annotated[float, typer.Option(help="Output tokens per second to reach, at the same time.", min=0)],
    duration: Annotated[str, typer.Option(help="The measured window, for instance 60s or 10m.")] = "10m",
    warm_up: Annotated[str, typer.Option(help="Load before the window that is not counted.")] = "30s",
    concurrency: Annotated[int, typer.Option(help="Streams at once.", min=1)] = 64,
    input_tokens: Annotated[int, typer.Option(help="Tokens of each prompt.", min=1)] = 2000,
    output_tokens: Annotated[int, typer.Option(help="Tokens of each answer.", min=2)] = 1000,
    hit_rate: Annotated[float, typer.Option(help="Share of a prompt that all begin with alike, below 1.")] = 0.0,
    ttft_ms: Annotated[float | None, typer.Option(help="Longest TTFT at the 99th percentile.")] = None,
    tpot_ms: Annotated[float | None, typer.Option(help="Longest TPOT at the 99th percentile.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the prompts. Default: a new one, so that no cache knows them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put a load on the appliance, measure it against a target, and sign the result."""
    from ops.acceptance.workload import Target, Workload  # noqa: PLC0415 - loaded where it is used

    env = load()
    with told(), rows():
        from appliance.operations import acceptance  # noqa: PLC0415 - after Django's setup

        chosen = secrets.randbelow(2**31) if seed is None else seed
        work = Workload(
            model, input_tokens, output_tokens, concurrency, _seconds(duration), _seconds(warm_up), chosen, hit_rate
        )
        _require_space(env.data_dir)
        row = acceptance.run(
            env,
            acceptance.Asked(work, Target(input_tps, output_tps, ttft_ms, tpot_ms)),
            lambda line: typer.echo(line, file=sys.stderr),
        )
        facts = _facts(row, acceptance.certificate_file(row, "certificate.json"))
    _show(facts, as_json)
    if facts["verdict"] != "met":
        raise typer.Exit(int(Exit.FAILED))


@app.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1000)] = 50, as_json: AsJson = False
) -> None:
    """List acceptance runs, newest first."""
    with rows():
        from appliance.operations.models import AcceptanceRun  # noqa: PLC0415

        lines = [
            {
                "id": str(row.pk),
                "model": row.model_name,
                "started": f"{row.started_at:%Y-%m-%d %H:%M:%S}Z",
                "target": f"{row.target_input_tps:g} + {row.target_output_tps:g}",
                "measured": f"{row.input_tps:.1f} + {row.output_tps:.1f}",
                "failed": row.failed_requests,
                "verdict": row.verdict,
            }
            for row in AcceptanceRun.objects.all()[:limit]
        ]
    show_rows(lines, as_json, "No acceptance runs yet.")


@app.command()
def show(run_id: RunId, as_json: AsJson = False) -> None:
    """Show one run; its certificate is not verified by this."""
    with rows():
        from appliance.operations.acceptance import certificate_file  # noqa: PLC0415

        row = _row(run_id)
        try:
            path = certificate_file(row, "certificate.json")
        except FileNotFoundError:
            raise fail(f"the certificate of run {row.pk} is not in {row.folder}: restore it from a backup") from None
        facts = _facts(row, path)
    _show(facts, as_json)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A certificate's folder, or one of its files.")],
    key: Annotated[Path | None, typer.Option(help="The signer's public key (PEM). Default: this box's own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Verify a certificate, of a run or of an erasure: signature, every file, and that its figures follow."""
    from ops.acceptance import verify as verifying  # noqa: PLC0415
    from ops.acceptance.errors import CertificateRefused  # noqa: PLC0415
    from ops.acceptance.signing import load_public  # noqa: PLC0415

    if not path.exists():
        raise fail(
            f"{path} is not there; `coderack acceptance show ID` tells where a run's certificate lies", Exit.NOT_FOUND
        )
    with told():
        trusted = load_public(key or _public_key())
        try:
            held = verifying.verify(path, trusted)
        except CertificateRefused as error:
            if as_json:
                show_json({"ok": False, "faults": list(error.faults)})
            for fault in () if as_json else error.faults:
                err.print(fault, style="red", markup=False)
            raise typer.Exit(int(Exit.FAILED)) from None
    facts = held.facts
    if as_json:
        verdict = facts.get("verdict")  # an erasure's has none
        show_json({"ok": True, "faults": [], "id": facts["id"], "verdict": verdict, "key": held.key})
        return
    if "verdict" not in facts:
        typer.echo(f"verified: erasure {facts['id']} of {facts['file']['id']}, finished {facts['finished_at']}, signed by "
                   f"{held.key[:16]}…")  # fmt: skip
        return
    typer.echo(f"verified: run {facts['id']} of {facts['finished_at']}, signed by {held.key[:16]}…; the target was "
               f"{facts['verdict'].replace('_', ' ')}")  # fmt: skip


@app.command("key")
def print_key(as_json: AsJson = False) -> None:
    """Print the public key that this box's certificates are checked with."""
    path = _public_key()
    try:
        pem = path.read_text()
        show_json({"path": str(path), "key": pem}) if as_json else typer.echo(pem, nl=False)
    except OSError:
        raise fail(f"{path} is not there: the first acceptance run or erasure makes it", Exit.NOT_FOUND) from None


@contextmanager
def told() -> Iterator[None]:
    """What can't be done, in its own words."""
    try:
        yield
    except BadWorkload as error:
        raise fail(str(error), Exit.USAGE) from None
    except AcceptanceError as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename or 'a file'}: {error.strerror}: nothing was kept") from None
    except KeyboardInterrupt:
        raise fail("interrupted: nothing was kept") from None


def _public_key() -> Path:
    return load().data_dir / "acceptance" / "keys" / "public.pem"


def _seconds(text: str) -> float:
    from ops.acceptance.workload import seconds  # noqa: PLC0415

    try:
        return seconds(text)
    except ValueError as error:
        raise BadWorkload([str(error)]) from None


def _require_space(data_dir: Path) -> None:
    free = shutil.disk_usage(data_dir).free
    if free < SPARE_BYTES:
        raise fail(
            f"{data_dir} has {free / 2**20:.0f} MiB free, a run needs {SPARE_BYTES / 2**20:.0f}: make room first"
        )


def _row(run_id: str) -> AcceptanceRun:
    from appliance.operations.models import AcceptanceRun  # noqa: PLC0415

    matching = [row for row in AcceptanceRun.objects.all() if str(row.pk).startswith(run_id.lower())]
    if len(matching) != 1 or not run_id:
        how_many = "no acceptance run" if not matching else f"{len(matching)} acceptance runs"
        raise fail(f"{how_many} {run_id!r}; `coderack acceptance list` shows them", Exit.NOT_FOUND)
    return matching[0]


def _facts(row: AcceptanceRun, certificate: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(certificate.read_bytes())
    return {"id": str(UUID(str(row.pk))), "verdict": row.verdict, "reasons": list(row.reasons), "folder": row.folder,
            "certificate_sha256": row.certificate_digest, "by": row.created_by, "started_at": facts["started_at"],
            "finished_at": facts["finished_at"], "workload": facts["workload"], "target": facts["target"],
            "measured": facts["measured"], "evidence": facts["evidence"]}  # fmt: skip


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(facts)
        return
    target, measured = facts["target"], facts["measured"]
    lines = [
        {"figure": "input tokens/s", "target": target["input_tps"], "measured": measured["input_tps"]},
        {"figure": "output tokens/s", "target": target["output_tps"], "measured": measured["output_tps"]},
        {"figure": "TTFT p99, ms", "target": target["ttft_p99_ms"], "measured": measured["ttft"]["p99_ms"]},
        {"figure": "TPOT p99, ms", "target": target["tpot_p99_ms"], "measured": measured["tpot"]["p99_ms"]},
        {"figure": "failed requests", "target": 0, "measured": measured["failed_requests"]},
    ]
    out.print(f"Run {facts['id']} of {facts['workload']['model']}: {facts['verdict'].replace('_', ' ')}", markup=False)
    for reason in facts["reasons"]:
        out.print(f"  {reason}", markup=False)
    show_rows(lines, False, "")
    out.print(f"Certificate: {facts['folder']}", markup=False)
