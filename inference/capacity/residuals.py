"""How well the calibration predicts rows that it has not seen: each case left out in turn, and the rows of unseen.yaml."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference.capacity import ceiling
from inference.capacity.calibration import Calibration, fit
from inference.capacity.published import Measurement


@dataclass(frozen=True)
class Residual:
    """One measured row beside its prediction. Rates are tokens/s, None where it was not measured.

    `measured_over_predicted` is the factor between them, `ceiling_share` the part of the physical ceiling that was measured.
    """

    case: str
    source: str
    facts: bool
    input_tps: float | None
    output_tps: float | None
    predicted_input_tps: float | None
    predicted_output_tps: float | None
    measured_over_predicted: float
    interval_low: float
    interval_high: float
    inside: bool
    ceiling_share: float


@dataclass(frozen=True)
class Count:
    """Cases, those inside their interval with all their rows, and the widest interval as a factor."""

    cases: int
    inside: int
    widest: float


def left_out(rows: Sequence[Measurement]) -> tuple[Residual, ...]:
    """Predict every case by a calibration on all the others."""
    without = {case: fit(row for row in rows if row.case != case) for case in {row.case for row in rows}}
    return tuple(_residual(without[row.case], row) for row in rows)


def predicted(calibration: Calibration, rows: Iterable[Measurement]) -> tuple[Residual, ...]:
    """Predict rows that no fit has seen."""
    return tuple(_residual(calibration, row) for row in rows)


def count(residuals: Iterable[Residual]) -> Count:
    """Cases by whether all their rows lie inside."""
    held: dict[str, bool] = {}
    widest = 0.0
    for one in residuals:
        held[one.case] = held.get(one.case, True) and one.inside
        widest = max(widest, one.interval_high / one.interval_low)
    return Count(len(held), sum(held.values()), widest)


def _residual(calibration: Calibration, row: Measurement) -> Residual:
    ratio, factor = math.exp(calibration.log_error(row)), calibration.factor(row)
    return Residual(
        case=row.case,
        source=row.source,
        facts=row.facts,
        input_tps=row.input_tps,
        output_tps=row.output_tps,
        predicted_input_tps=row.input_tps / ratio if row.input_tps else None,
        predicted_output_tps=row.output_tps / ratio if row.output_tps else None,
        measured_over_predicted=ratio,
        interval_low=1 / factor,
        interval_high=factor,
        inside=1 / factor <= ratio <= factor,
        ceiling_share=ceiling.share_of(row),
    )
