"""Latency histograms: sums over engines, differences of readings, percentiles."""

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.engines.histogram import NOTHING, Histogram

BOUNDS = (0.01, 0.05, 0.25, 1.0, 2.5, math.inf)
SECONDS = st.floats(min_value=0, max_value=4, allow_nan=False)
ENGINES = st.lists(st.lists(SECONDS, max_size=60), min_size=1, max_size=4)


def _observed(values: list[float]) -> Histogram:
    counts = [0] * len(BOUNDS)
    for value in values:
        counts[bisect_left(BOUNDS, value)] += 1
    return Histogram(tuple(zip(BOUNDS, counts, strict=True)))


@given(ENGINES, st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_of_several_engines_lies_in_the_bucket_of_the_true_one(engines: list[list[float]], share: float):
    values = sorted(value for engine in engines for value in engine)
    found = sum((_observed(engine) for engine in engines), start=NOTHING).quantile(share)
    if not values:
        assert found is None
        return
    true = values[max(0, math.ceil(share * len(values)) - 1)]
    bucket = bisect_left(BOUNDS, true)
    assert found is not None
    if math.isinf(BOUNDS[bucket]):
        assert found == BOUNDS[-2]
    else:
        lower = BOUNDS[bucket - 1] if bucket else 0.0
        assert lower <= found <= BOUNDS[bucket] + 1e-12


@given(st.lists(SECONDS), st.lists(SECONDS))
def test_the_difference_of_two_readings_is_what_came_between(before: list[float], new: list[float]):
    assert _observed(before + new).since(_observed(before)) == _observed(new)


@given(st.lists(SECONDS), st.lists(SECONDS))
def test_no_difference_is_negative_whatever_was_read_before(before: list[float], after: list[float]):
    assert all(count >= 0 for _, count in _observed(after).since(_observed(before)).buckets)


def test_counters_that_began_anew_count_as_a_whole():
    assert _observed([0.02]).since(_observed([0.02, 0.3])) == _observed([0.02])


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([0.02, 0.02, 0.3, 0.3], 0.5, 0.05),  # the rank is the bucket's last
        ([0.3] * 4, 0.5, 0.625),  # halfway between 0.25 and 1
        ([0.3] * 100, 0.99, 0.9925),
        ([0.001] * 4, 0.5, 0.005),  # the lowest bucket begins at 0
        ([0.02, 9.0, 9.0], 0.99, 2.5),  # beyond the last bound nothing more is known
    ],
)
def test_it_interpolates_within_the_bucket_as_promql_does(values: list[float], share: float, expected: float):
    assert _observed(values).quantile(share) == pytest.approx(expected)


def test_without_observations_there_is_no_percentile():
    assert NOTHING.quantile(0.5) is None
    assert _observed([]).quantile(0.99) is None
    assert Histogram(((math.inf, 3),)).quantile(0.5) is None


def test_it_leaves_out_the_fastest_and_no_more_than_there_are():
    assert _observed([0.001, 0.02, 0.3]).without_fastest(2) == _observed([0.3])
    assert _observed([0.001]).without_fastest(9) == _observed([])


@pytest.mark.parametrize("counts", [{0.1: 2.0, math.inf: 1.0}, {0.1: 0.5}, {0.1: math.nan}, {0.1: -1.0}])
def test_what_is_no_cumulative_histogram_is_none(counts: dict[float, float]):
    assert Histogram.of_cumulative(counts) == NOTHING
