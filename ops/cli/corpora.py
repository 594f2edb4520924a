"""`coderack data corpus`: public code on the box, of which fine-tunes recall what is most like a tenant's own."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, fail, show_done, show_rows

if TYPE_CHECKING:
    from finetune.data.recall.corpora import Corpus

app = typer.Typer(help="Public code that fine-tunes on source code mix in as replay.", no_args_is_help=True)


@app.callback()
def corpus() -> None:
    """Public code that fine-tunes on source code mix in as replay."""


@app.command()
def add(
    path: Annotated[Path, typer.Argument(help="A .tar.gz, .tgz, .zip or .bundle, or a directory.")],
    name: Annotated[str, typer.Option(help="What to call it: a-z, 0-9, '.', '_', '-'.")],
    as_json: AsJson = False,
) -> None:
    """Clean an archive or a directory of source files and register it for all tenants' fine-tunes."""
    with rows():
        from django.conf import settings  # noqa: PLC0415 - after Django's setup
        from django.db import connection  # noqa: PLC0415

        from appliance.training.planted import planted_secret  # noqa: PLC0415
        from appliance.training.replay import corpora_dir  # noqa: PLC0415
        from finetune.data.errors import DatasetRefused, NoRoom  # noqa: PLC0415
        from finetune.data.recall.adding import add as register  # noqa: PLC0415 - loads the secret scanner
        from finetune.data.recall.corpora import CorpusRefused  # noqa: PLC0415

        connection.ensure_connection()  # said now rather than after an hour of cleaning
        connection.close()  # which a database that is started anew meanwhile would break
        try:
            unwanted = settings.ENV.unwanted_licences
            made = register(corpora_dir(), path, name, planted_secret(), _progress, unwanted_licences=unwanted)
        except (CorpusRefused, DatasetRefused) as refused:
            raise fail(str(refused), Exit.USAGE) from None
        except NoRoom as full:
            raise fail(str(full)) from None
        _record("corpus.add", made)
    show_done(asdict(made), as_json, f"{made.name}: {made.rows} files, {made.bytes / 1e6:.1f} MB, {made.digest[:12]}")


@app.command("list")
def list_corpora(as_json: AsJson = False) -> None:
    """List the registered corpora."""
    with rows():
        from appliance.training.replay import corpora_dir  # noqa: PLC0415
        from finetune.data.recall.corpora import corpora  # noqa: PLC0415

        lines = [asdict(one) for one in corpora(corpora_dir())]
    show_rows(lines, as_json, "No corpus is registered: fine-tunes have no replay.")


@app.command()
def remove(name: Annotated[str, typer.Argument(help="The corpus's name.")], as_json: AsJson = False) -> None:
    """Remove a corpus; fine-tunes that recalled from it before keep what they have."""
    with rows():
        from django.db import transaction  # noqa: PLC0415

        from appliance.training.replay import corpora_dir  # noqa: PLC0415
        from finetune.data.recall.corpora import CorpusRefused, CorpusUnknown  # noqa: PLC0415
        from finetune.data.recall.corpora import remove as take_away  # noqa: PLC0415

        try:
            with transaction.atomic():
                gone = take_away(corpora_dir(), name, about_to=partial(_record, "corpus.remove"))
        except CorpusUnknown as unknown:
            raise fail(f"{unknown}; `coderack data corpus list` shows them", Exit.NOT_FOUND) from None
        except CorpusRefused as refused:
            raise fail(str(refused)) from None
    show_done(asdict(gone), as_json, f"{name} removed")


def _record(action: str, made: Corpus) -> None:
    from django.db import transaction  # noqa: PLC0415

    from appliance.audit.record import record  # noqa: PLC0415

    with transaction.atomic():
        record(action, made.name, details={"digest": made.digest, "rows": made.rows})


def _progress(stage: str, files: int, characters: int) -> None:
    sys.stderr.write(f"{stage}: {files} files, {characters / 1e6:.1f} MB\n")
