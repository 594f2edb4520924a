"""`coderack data`: how well cleaning finds secrets and personal data, which needs nothing that runs; reports; erasing."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated, Any

import typer

from finetune.data.measure.pages import Page, pages
from finetune.data.measure.python_files import Parsed, parsed, standard_library
from finetune.data.measure.score import Row, Score, score
from ops.cli.corpora import app as corpus
from ops.cli.erasures import certificate, erase, erasures
from ops.cli.printing import AsJson, Exit, out, show_json, show_rows
from ops.cli.signoffs import report, revoke_signoff, signoff

app = typer.Typer(
    help="Data: reports, sign-offs, erasing, public corpora, and how well cleaning finds secrets and personal data.",
    no_args_is_help=True,
)
app.command()(report)
app.command()(signoff)
app.command("revoke-signoff")(revoke_signoff)
app.command()(erase)
app.command()(erasures)
app.command()(certificate)
app.add_typer(corpus, name="corpus")
LEAST_PARSED = 0.99


@app.callback()
def data() -> None:
    """Data: reports, sign-offs, erasing, public corpora, and how well cleaning finds secrets and personal data."""


@app.command()
def measure(
    seed: Annotated[int, typer.Option(help="Other seeds make other files.")] = 1,
    files: Annotated[int, typer.Option(min=12, max=20000, help="How many files to make.")] = 1200,
    library_files: Annotated[
        int | None, typer.Option(min=0, help="At most so many files of Python's standard library; none given: all.")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Show so many values missed and wrongly taken.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure recall and precision of the detectors on labelled files made from a seed, and whether Python still parses."""
    made = list(pages(seed, files))
    result = score(made)
    python = {"made": parsed(_python(made)), "standard_library": parsed(standard_library(library_files))}
    rows = result.rows()
    reached = all(row.reached for row in rows) and all(one.share >= LEAST_PARSED for one in python.values())
    if as_json:
        show_json(_content(seed, files, result, rows, python, examples) | {"reached": reached})
    else:
        _show(result, rows, python, examples)
    raise typer.Exit(Exit.OK if reached else Exit.FAILED)


def _python(made: list[Page]) -> list[str]:
    return [page.text for page in made if page.path.endswith(".py")]


def _content(
    seed: int, files: int, result: Score, rows: list[Row], python: dict[str, Parsed], examples: int
) -> dict[str, Any]:
    return {
        "seed": seed,
        "files": files,
        "classes": [asdict(row) | {"reached": row.reached} for row in rows],
        "forms": result.forms(),
        "python": {name: _python_row(one) for name, one in python.items()},
        "missed": result.missed[:examples],
        "mistaken": result.mistaken[:examples],
    }


def _python_row(one: Parsed) -> dict[str, Any]:
    return {
        "files": one.files,
        "parse_after": one.parse_after,
        "share": one.share,
        "findings_per_mb": round(one.per_mb, 2),
        "by_rule": dict(Counter(one.by_rule).most_common()),
    }


def _python_line(one: Parsed) -> dict[str, Any]:
    return {name: value for name, value in _python_row(one).items() if name != "by_rule"}


def _show(result: Score, rows: list[Row], python: dict[str, Parsed], examples: int) -> None:
    show_rows([_line(row) for row in rows], False, "none")
    out.print()
    show_rows([{"python": name} | _python_line(one) for name, one in python.items()], False, "none")
    for title, lines in (("Missed", result.missed), ("Wrongly taken", result.mistaken)):
        for line in lines[:examples]:
            out.print(f"{title}: {line}", markup=False)


def _line(row: Row) -> dict[str, Any]:
    return {
        "class": row.name,
        "positives": row.positives,
        "recall": f"{row.recall:.3f}",
        "at_least": row.least_recall,
        "precision": None if row.precision is None else f"{row.precision:.3f}",
        "precision_at_least": row.least_precision,
        "reached": "yes" if row.reached else "NO",
    }
