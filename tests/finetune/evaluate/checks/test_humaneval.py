from __future__ import annotations

import pytest

from finetune.evaluate.check import Verdict
from finetune.evaluate.checks.humaneval import TOLERATED_LOSS, decide


def solved(count: int, of: int) -> list[bool]:
    return [index < count for index in range(of)]


def test_five_lost_and_none_won_is_a_regression() -> None:
    check = decide(solved(5, 8), solved(0, 8))
    assert (check.verdict, check.blocking) == (Verdict.FAIL, True)
    assert check.measured["p_worse"] == pytest.approx(1 / 32)


def test_four_lost_of_eight_is_not_shown_to_be_one() -> None:
    check = decide(solved(5, 8), solved(1, 8))
    assert check.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "4 lost, 0 won" in check.reason


def test_many_equal_pairs_exclude_a_large_loss() -> None:
    check = decide(solved(80, 164), solved(79, 164))
    assert check.verdict is Verdict.PASS
    assert check.measured["loss_upper_bound"] < TOLERATED_LOSS


def test_a_few_equal_pairs_do_not() -> None:
    check = decide(solved(4, 8), solved(4, 8))
    assert check.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "not excluded" in check.reason


def test_a_base_model_that_solves_nothing_is_no_evidence() -> None:
    check = decide(solved(0, 164), solved(0, 164))
    assert check.verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_as_many_won_as_lost_is_no_regression() -> None:
    base = [True] * 20 + [False] * 20 + [True] * 60
    check = decide(base, [not value for value in base[:40]] + [True] * 60)
    assert check.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert check.measured["won"] == check.measured["lost"] == 20


def test_both_models_must_have_tried_the_same_tasks() -> None:
    with pytest.raises(ValueError, match="zip"):
        decide([True], [])
