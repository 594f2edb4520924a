"""The chart's geometry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.console.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, area, curve, draw, nice, path

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _draw(values: list[float], contract: int = 1000) -> Chart:
    points = [(START + timedelta(seconds=40 * n), value) for n, value in enumerate(values)]
    return draw({"m": points}, colours={"m": 3}, start=START, span=HOUR, step_s=40, contract=contract)


def test_it_starts_at_the_left_with_zero_at_the_bottom() -> None:
    assert _draw([0.0, 5.0]).lines[0].path.startswith(f"M{LEFT}.0 {HEIGHT - BOTTOM}.0L")


def test_it_leaves_a_gap_where_data_is_missing() -> None:
    assert path([(0, 1), (10, 1), (40, 1), (50, 1)], 10) == "M0 1L10 1M40 1L50 1"


def test_it_marks_a_lone_point() -> None:
    assert path([(0, 1)], 10) == "M0 1h2"


@pytest.mark.parametrize(("peak", "drawn"), [(249.0, False), (250.0, True), (2000.0, True)])
def test_it_draws_the_contract_within_reach(peak: float, drawn: bool) -> None:
    assert (_draw([peak]).contract_y is not None) is drawn


def test_it_says_when_there_is_nothing() -> None:
    assert draw({}, colours={}, start=START, span=HOUR, step_s=40, contract=1000).empty


@given(st.floats(min_value=0, max_value=1e9))
def test_it_rounds_the_scale_up(peak: float) -> None:
    assert peak <= nice(peak) <= max(10.0, peak * 2)


@given(st.lists(st.floats(min_value=0, max_value=1e7), min_size=1, max_size=90))
def test_it_stays_inside_the_frame(values: list[float]) -> None:
    chart = _draw(values)
    numbers = [float(n) for n in chart.lines[0].path.replace("M", " ").replace("L", " ").replace("h2", "").split()]
    assert all(LEFT <= x <= WIDTH - RIGHT + 0.1 for x in numbers[::2])
    assert all(TOP - 0.1 <= y <= HEIGHT - BOTTOM for y in numbers[1::2])


def test_a_band_lies_between_its_lines_and_has_their_gaps() -> None:
    above, below = [(0.0, 1.0), (10.0, 2.0), (40.0, 3.0)], [(0.0, 5.0), (10.0, 6.0), (40.0, 7.0)]
    assert area(above, below, 10) == "M0.0 1.0L10.0 2.0L10.0 6.0L0.0 5.0ZM40.0 3.0h2V7.0h-2Z"


def test_a_band_is_drawn_for_each_line_that_has_a_lower_edge() -> None:
    points = [(START, 30.0), (START + timedelta(seconds=40), 40.0)]
    below = [(at, value / 2) for at, value in points]
    chart = draw(
        {"m": points, "n": points},
        lower={"m": below},
        colours={},
        start=START,
        span=HOUR,
        step_s=40,
        contract=50,
        unit="ms",
    )
    banded, plain = chart.lines
    assert banded.band.startswith(banded.path)
    assert banded.lower
    assert (plain.band, plain.lower) == ("", "")


def test_it_joins_a_curves_points_however_far_apart_and_scales_small_values() -> None:
    chart = curve({"train": [(1, 0.04), (100, 0.02)], "valid": []}, {"train": 0, "valid": 1})
    assert chart.last_step == 100
    assert [line.name for line in chart.lines] == ["train"]
    assert chart.lines[0].path.count("L") == 1
    assert [tick.label for tick in chart.y_ticks] == ["0", "0.05", "0.1"]


def test_it_says_when_a_curve_has_no_point() -> None:
    assert curve({"train": []}, {"train": 0}).empty
