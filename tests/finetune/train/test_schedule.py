"""The learning rate: up in a line, down in a cosine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.train.schedule import FINAL_SHARE, MAX_WARM_UP_STEPS, learning_rate, warm_up_steps


@given(total=st.integers(1, 5000))
def test_it_rises_to_the_peak_then_only_falls(total: int) -> None:
    rates = [learning_rate(step, total, 1.0) for step in range(total)]
    top = warm_up_steps(total)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(1.0)
    assert min(rates[top:], default=1.0) >= FINAL_SHARE


def test_a_long_run_warms_up_for_a_bounded_number_of_steps_and_ends_low() -> None:
    assert warm_up_steps(1_000_000) == MAX_WARM_UP_STEPS
    assert learning_rate(99_999, 100_000, 1.0) == pytest.approx(FINAL_SHARE, abs=1e-6)
