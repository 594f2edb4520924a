"""`coderack calibrate-capacity`: the planner's efficiencies, fitted to what others measured, and how well they predict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from inference.capacity.calibration import Calibration, fit
from inference.capacity.errors import BadMeasurements
from inference.capacity.fitted import FILE, text
from inference.capacity.published import calibrating, load, unseen
from inference.capacity.residuals import Residual, count, left_out, predicted
from ops.cli.capacity import rounded
from ops.cli.printing import AsJson, Exit, fail, out, show_json


def calibrate_capacity(
    rows: Annotated[
        Path | None, typer.Option(help="Predict the measurements of this file, not the shipped unseen ones.")
    ] = None,
    write: Annotated[Path | None, typer.Option(help="Write the calibration to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit the planner's efficiencies to published measurements, and print how well they predict rows not seen."""
    try:
        others = load(rows) if rows else unseen()
    except BadMeasurements as error:
        raise fail("\n".join(error.faults), Exit.USAGE) from None
    found = fit(calibrating())
    if write:
        _write(found, write)
    without, new = left_out(calibrating()), predicted(found, others)
    counts = {
        "left_out": count(without),
        "left_out_facts": count(row for row in without if row.facts),
        "unseen": count(new),
    }
    if as_json:
        counted = {name: asdict(one) for name, one in counts.items()}
        listed = {"left_out": [asdict(row) for row in without], "unseen": [asdict(row) for row in new]}
        show_json(rounded({"figures": found.figures, "spread": found.spread, "counts": counted, "rows": listed}))
        return
    _figures(found)
    _table("Each case predicted by a calibration on all the others", without)
    _table("Rows that the calibration has not seen", new)
    for name, one in counts.items():
        words = f"{one.inside} of {one.cases} cases inside, intervals no wider than a factor of {one.widest:.2f}"
        out.print(f"{name.replace('_', ' ')}: {words}", markup=False)


def _write(found: Calibration, path: Path) -> None:
    try:
        path.write_text(text(found), encoding="utf-8")
    except OSError as error:
        raise fail(f"{path} can't be written: {error.strerror}") from None
    if path.resolve() == FILE.resolve():
        out.print("The planner's own calibration was replaced.", markup=False)


def _figures(found: Calibration) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, figure in found.figures.items():
        table.add_row(name.replace("_", " "), f"{figure:.3g}")
    table.add_row("spread left unexplained", f"{found.spread:.2f}")
    out.print(table)


def _table(title: str, residuals: Iterable[Residual]) -> None:
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    table.add_column("case", overflow="fold")
    for heading in ("measured", "predicted", "ratio", "inside", "of ceiling"):
        table.add_column(heading, no_wrap=True, justify="right")
    for row in residuals:
        table.add_row(
            row.case,
            _rates(row.input_tps, row.output_tps),
            _rates(row.predicted_input_tps, row.predicted_output_tps),
            f"{row.measured_over_predicted:.2f}",
            "yes" if row.inside else "no",
            f"{row.ceiling_share:.0%}",
        )
    out.print(table)


def _rates(into: float | None, output: float | None) -> str:
    """Input and output; one of them where only one was measured."""
    return " + ".join("-" if rate is None else f"{rate:,.0f}" for rate in (into, output))
