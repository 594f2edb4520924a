"""The tests against published values and against each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.evaluate.significance import at_least, lower_bound, sign_flip_test, sign_test, upper_bound


def test_the_binomial_tail_is_exact() -> None:
    assert at_least(3, 4, 0.5) == pytest.approx(5 / 16)
    assert at_least(0, 4, 0.5) == pytest.approx(1)
    assert sign_test(5, 0) == pytest.approx(1 / 32)
    assert sign_test(0, 0) == 1.0


def test_the_bounds_are_clopper_and_pearsons() -> None:
    assert upper_bound(0, 10) == pytest.approx(1 - 0.05 ** (1 / 10))
    # The two-sided 95 % interval of 4 of 10, in every table of them.
    assert lower_bound(4, 10, 0.025) == pytest.approx(0.1216, abs=1e-4)
    assert upper_bound(4, 10, 0.025) == pytest.approx(0.7376, abs=1e-4)
    assert (lower_bound(0, 10), upper_bound(10, 10)) == (0.0, 1.0)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_lies_within_its_bounds(counts: tuple[int, int]) -> None:
    count, trials = counts
    assert lower_bound(count, trials) <= count / trials + 1e-9
    assert count / trials <= upper_bound(count, trials) + 1e-9


def test_sign_flips_are_exact_for_few_values() -> None:
    assert sign_flip_test([0.1] * 5) == pytest.approx(1 / 32)
    assert sign_flip_test([-0.1] * 5) == 1.0
    assert sign_flip_test([0.0] * 5) == 1.0


def test_sign_flips_are_drawn_alike_each_time_for_many_values() -> None:
    values = [0.3, -0.2] * 10
    assert sign_flip_test(values) == sign_flip_test(values)
    assert 0.1 < sign_flip_test(values) < 0.6
    assert 0 < sign_flip_test([0.1] * 40) < 0.001
