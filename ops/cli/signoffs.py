"""`coderack data report`, `signoff`, `revoke-signoff`: what cleaning found in a file, and a person's word that they read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_done, show_facts

if TYPE_CHECKING:
    from appliance.tenants.models import User
    from appliance.training.models import Dataset, StoredFile

FileId = Annotated[str, typer.Argument(metavar="FILE", help="The file's id, file-…")]
By = Annotated[str, typer.Option("--by", help="The person who read the report, by the name they log in with.")]


def report(file: FileId, as_json: AsJson = False) -> None:
    """Show a file's data report: its digest, who signed it off, counts by rule and by file, what remains to be read."""
    with rows():
        dataset = _dataset(file)
        facts = _facts(dataset) | {
            name: dataset.report.get(name)
            for name in ("replacements", "replaced_by_file", "left_out_by_cleaning", "residual")
        }
    show_facts(facts, as_json)


def signoff(
    file: FileId,
    by: By,
    digest: Annotated[str, typer.Option(help="The report's digest as `coderack data report` showed it.")],
    comment: Annotated[str, typer.Option(help="Kept with the sign-off.")] = "",
    as_json: AsJson = False,
) -> None:
    """Sign off a file's data report; fine-tunes that wait for it go on."""
    with rows():
        from appliance.training import signing  # noqa: PLC0415 - after Django's setup
        from appliance.training.errors import SignoffRefused  # noqa: PLC0415

        dataset, user = _dataset(file), _person(by)
        try:
            signing.sign(dataset.file, user, digest, comment)
        except SignoffRefused as error:
            raise fail(str(error)) from None
        facts = _facts(dataset)
    show_done(facts, as_json, f"data report of {file} signed off by {by}")


def revoke_signoff(file: FileId, by: By, as_json: AsJson = False) -> None:
    """Take back the sign-off of a file's data report, as long as no fine-tune has gone on by it."""
    with rows():
        from appliance.training import signing  # noqa: PLC0415
        from appliance.training.errors import SignoffRefused  # noqa: PLC0415

        dataset, user = _dataset(file), _person(by)
        try:
            signing.revoke(dataset.file, user)
        except SignoffRefused as error:
            raise fail(str(error)) from None
        facts = _facts(dataset)
    show_done(facts, as_json, f"sign-off of {file} taken back by {by}")


def _dataset(file_id: str) -> Dataset:
    from appliance.training.models import Dataset, StoredFile  # noqa: PLC0415

    found: StoredFile | None = StoredFile.objects.filter(pk=file_id, deleted_at=None).first()
    if found is None:
        raise fail(f"there is no file {file_id!r}; the console's Data page lists them", Exit.NOT_FOUND)
    dataset = Dataset.objects.filter(file=found).select_related("file").first()
    if dataset is None:
        raise fail(f"{file_id} has no data report: it is {found.get_status_display()}", Exit.NOT_FOUND)
    return dataset


def _person(name: str) -> User:
    from appliance.tenants.models import User  # noqa: PLC0415

    found = User.objects.filter(username=name).first()
    if found is None:
        raise fail(f"there is no person {name!r}; `coderack user list` shows them", Exit.NOT_FOUND)
    return found


def _facts(dataset: Dataset) -> dict[str, Any]:
    from appliance.training import signing  # noqa: PLC0415

    standing = signing.standing(dataset)
    return {
        "file": dataset.file_id,
        "filename": dataset.file.filename,
        "tenant": dataset.file.tenant_id,
        "rows": dataset.rows,
        "dataset_digest": dataset.digest,
        "report_digest": signing.report_digest(dataset),
        "signoff": None if standing is None else signing.facts(standing),
    }
