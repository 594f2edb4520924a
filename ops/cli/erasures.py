"""`coderack data erase`, `erasures`, `certificate`: a tenant's file gone with all that came of it, and the proof of it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, out, show_done, show_json, show_rows

if TYPE_CHECKING:
    from appliance.training.models import Erasure, StoredFile

FileId = Annotated[str, typer.Argument(metavar="FILE", help="The file's id, file-…")]
LOOK_EVERY_S = 1.0


def erase(
    file: FileId,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it led to.")] = False,
    wait: Annotated[int, typer.Option(help="Wait so many seconds for engines and fine-tunes to let go.", min=0)] = 60,
    as_json: AsJson = False,
) -> None:
    """Remove a file for good with its dataset, fine-tunes and adapters, and sign a certificate."""
    with rows():
        from appliance.training import erasing  # noqa: PLC0415 - after Django's setup
        from appliance.training.errors import ErasureRefused  # noqa: PLC0415

        row = _file(file)
        if dry_run:
            _show_plan(row, [item.facts() for item in erasing.planned(row)], as_json)
            return
        try:
            erasure = erasing.go_on(erasing.begin(row))
        except ErasureRefused as error:
            raise fail(str(error), Exit.USAGE) from None
        until = time.monotonic() + wait
        while erasure.finished_at is None and time.monotonic() < until:
            time.sleep(LOOK_EVERY_S)
            erasure = erasing.go_on(erasure)
        facts = _facts(erasure)
    _tell(facts, as_json)


def erasures(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List erasures, newest first."""
    with rows():
        from appliance.training.models import Erasure  # noqa: PLC0415

        found = Erasure.objects.filter(tenant_id=tenant) if tenant else Erasure.objects.all()
        lines = [_facts(row) for row in found.select_related("file")[:limit]]
    show_rows(lines, as_json, "Nothing was erased yet.")


def certificate(
    file: FileId,
    to: Annotated[Path, typer.Option(help="A new folder for the certificate's files.")],
    as_json: AsJson = False,
) -> None:
    """Copy an erasure's signed certificate out; `coderack acceptance verify` checks it."""
    with rows():
        from appliance.training.erasure_certificate import FILES, certificate_file  # noqa: PLC0415

        erasure = _erasure(file)
        try:
            found = [certificate_file(erasure, name) for name in FILES]
            to.mkdir(parents=True)
            for path in found:
                shutil.copyfile(path, to / path.name)
        except FileExistsError:
            raise fail(f"{to} is already there: name a new folder", Exit.USAGE) from None
        except FileNotFoundError:
            raise fail(_why_none(erasure)) from None
        except OSError as error:
            raise fail(f"{to} can't be written: {error.strerror}") from None
        facts = {"folder": str(to), "certificate_sha256": erasure.certificate_digest}
    show_done(facts, as_json, f"certificate of {file} in {to}")


def _show_plan(file: StoredFile, lines: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        show_json({"file": file.pk, "tenant": file.tenant_id, "leads_to": lines})
        return
    short = [{**line, "digest": line["digest"][:12]} for line in lines]
    show_rows([{name: line[name] for name in ("kind", "name", "digest", "act")} for line in short], False, "")


def _tell(facts: dict[str, Any], as_json: bool) -> None:
    done = facts["state"] == "done"
    if as_json:
        show_json(facts)
    elif done:
        out.print(f"{facts['file']} is erased; certificate: {facts['folder']}", markup=False)
    else:
        out.print(f"{facts['file']}: {facts['waits_for']}. It goes on by itself; ask again later.", markup=False)
    if not done:
        raise typer.Exit(int(Exit.FAILED))


def _file(file_id: str) -> StoredFile:
    from appliance.training.models import StoredFile  # noqa: PLC0415

    found = StoredFile.objects.filter(pk=file_id).first()
    if found is None:
        raise fail(f"there is no file {file_id!r}; the console's Data page lists them", Exit.NOT_FOUND)
    return found


def _erasure(file_id: str) -> Erasure:
    from appliance.training.models import Erasure  # noqa: PLC0415

    found = Erasure.objects.filter(file=_file(file_id)).first()
    if found is None:
        raise fail(f"{file_id} was not erased; `coderack data erasures` lists what was", Exit.NOT_FOUND)
    return found


def _why_none(erasure: Erasure) -> str:
    if erasure.finished_at is None:
        return f"the erasure of {erasure.file_id} is not done yet: {erasure.waits_for or 'it is being removed'}"
    return f"the certificate of {erasure.file_id} is not on the disk any more: restore it from a backup"


def _facts(erasure: Erasure) -> dict[str, Any]:
    from appliance.training.erasure_certificate import root  # noqa: PLC0415

    return {
        "id": str(erasure.pk),
        "file": erasure.file_id,
        "filename": erasure.file.filename,
        "tenant": erasure.tenant_id,
        "state": erasure.state,
        "waits_for": erasure.waits_for or None,
        "by": erasure.asked_by,
        "asked_at": erasure.asked_at.isoformat(timespec="seconds"),
        "finished_at": erasure.finished_at.isoformat(timespec="seconds") if erasure.finished_at else None,
        "folder": str(root() / str(erasure.pk)) if erasure.finished_at else None,
        "certificate_sha256": erasure.certificate_digest or None,
    }
