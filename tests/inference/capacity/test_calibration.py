"""The calibration against published measurements: the ten rows, rows not seen, and what can't be a measurement."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.capacity import ceiling, fitted
from inference.capacity.calibration import Calibration, fit
from inference.capacity.efficiency import Engine
from inference.capacity.errors import BadMeasurements
from inference.capacity.linear import inverse, times
from inference.capacity.published import Measurement, calibrating, load, unseen
from inference.capacity.residuals import Count, count, left_out, predicted

# FACTS: input and output of the ten published rows, tokens/s.
TEN = [
    (100_000, 50_000), (None, 6_000), (3_348, 3_050), (8_123, 7_400), (1_367, 1_248), (16_500, None), (1_583, 792),
    (15_100, 754), (31_500, 1_440), (7_800, 357),
]  # fmt: skip


@pytest.fixture(scope="module")
def found() -> Calibration:
    return fit(calibrating())


def test_the_ten_published_rows_are_what_it_is_calibrated_on() -> None:
    cases: dict[str, list[float | None]] = {}
    for row in calibrating():
        if row.facts:
            rates = cases.setdefault(row.case, [None, None])
            rates[0], rates[1] = rates[0] or row.input_tps, rates[1] or row.output_tps
    assert [tuple(rates) for rates in cases.values()] == TEN


def test_the_shipped_calibration_is_the_one_that_the_rows_give(found: Calibration) -> None:
    shipped = fitted.fitted()
    assert fitted.FILE.read_text().startswith(fitted.HEAD)
    assert shipped.logs == pytest.approx(found.logs, abs=1e-5)
    assert sum(shipped.covariance, ()) == pytest.approx(sum(found.covariance, ()), abs=1e-5)
    assert (shipped.spread, shipped.degrees) == pytest.approx((found.spread, found.degrees), abs=1e-5)


def test_a_written_calibration_is_read_back(found: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "calibration.yaml"
    path.write_text(fitted.text(found))
    assert fitted.text(fitted.read(path)) == path.read_text()


def test_left_out_rows_lie_in_their_intervals_which_are_no_wider_than_a_factor_of_four() -> None:
    residuals = left_out(calibrating())
    of_facts = count(row for row in residuals if row.facts)
    assert of_facts.cases == 10
    assert of_facts.inside >= 8
    everything = count(residuals)
    assert everything.inside >= 0.8 * everything.cases
    assert max(of_facts.widest, everything.widest) <= 4


def test_four_of_five_unseen_cases_lie_in_their_intervals(found: Calibration) -> None:
    assert not {row.case for row in unseen()} & {row.case for row in calibrating()}
    counted = count(predicted(found, unseen()))
    assert counted.cases >= 20
    assert counted.inside >= 0.8 * counted.cases
    assert counted.widest <= 4


@pytest.mark.parametrize("row", [*calibrating(), *unseen()], ids=lambda row: row.case)
def test_no_published_row_lies_above_the_physical_ceiling(row: Measurement) -> None:
    assert 0 < ceiling.share_of(row) < 1


def test_an_older_engine_reaches_less_and_separate_phases_more(found: Calibration) -> None:
    old, current, separate = (
        found.efficiency(engine, experts=False) for engine in (Engine.FIRST, Engine.CURRENT, Engine.SEPARATE)
    )
    assert old.prefill < current.prefill < separate.prefill <= 1
    assert old.decode < current.decode < separate.decode <= 1
    assert old.sequence_s > current.sequence_s > separate.sequence_s > 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, len(calibrating()) - 1), st.floats(0.2, 5.0))
def test_a_rate_is_off_by_what_it_is_multiplied_with(index: int, factor: float) -> None:
    shipped, row = fitted.fitted(), calibrating()[index]
    more = replace(
        row,
        input_tps=row.input_tps and row.input_tps * factor,
        output_tps=row.output_tps and row.output_tps * factor,
    )
    assert shipped.log_error(more) == pytest.approx(shipped.log_error(row) + math.log(factor))


def test_a_case_counts_as_inside_when_all_its_rows_are() -> None:
    one, other = (row for row in predicted(fitted.fitted(), calibrating()) if row.case == "deepseek-v2-h800-in-house")
    assert count([one, other]).cases == 1
    missed = replace(other, inside=False)
    assert count([one, missed]) == Count(1, 0, count([one, other]).widest)


def test_it_inverts() -> None:
    matrix = [[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]]
    assert times(matrix, times(inverse(matrix), [1.0, 2.0, 3.0])) == pytest.approx([1.0, 2.0, 3.0])


GOOD = {
    "case": "x", "source": "made by hand", "model": "deepseek-v3", "hardware": "8xh200", "precision": "fp8",
    "engine": "current", "tensor": 8, "input_tokens": 100, "output_tokens": 10, "output_tps": 500,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"model": "gpt-2"}, "no shape is known for 'gpt-2'"),
        ({"hardware": "8xb200"}, "no speeds are known for 'b200'"),
        ({"hardware": "4xh200"}, "not the 8 cards"),
        ({"precision": "fp4"}, "no precision 'fp4'"),
        ({"engine": "vllm"}, "no engine 'vllm'"),
        ({"output_tps": None}, "neither an input nor an output rate"),
        ({"output_tps": -1}, "above 0"),
        ({"outputs": 5}, "unknown field 'outputs'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_it_refuses_what_is_no_measurement(tmp_path: Path, changed: dict[str, object], named: str) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text(yaml.safe_dump([GOOD | changed]))
    with pytest.raises(BadMeasurements, match=r"rows\.yaml, entry 1") as refused:
        load(path)
    assert named in str(refused.value)


@pytest.mark.parametrize("text", ["", "a: [", "model: x"])
def test_it_refuses_a_file_that_is_no_list(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text(text)
    with pytest.raises(BadMeasurements, match=r"rows\.yaml"):
        load(path)
    with pytest.raises(BadMeasurements, match="no calibration"):
        fitted.read(path)


def test_a_row_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text(yaml.safe_dump([GOOD]))
    (row,) = load(path)
    assert row.running > 1
    assert 0 < ceiling.share_of(row) < 1
