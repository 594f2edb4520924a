from __future__ import annotations

import math

import pytest

from finetune.evaluate.check import Verdict
from finetune.evaluate.checks.parity import MAX_MEAN, MAX_SINGLE, decide
from tests.finetune.evaluate.rows import rows, shifted


def test_two_stacks_that_differ_by_rounding_agree() -> None:
    texts = rows(6)
    check = decide(texts, shifted(texts, 0.5 * MAX_MEAN))
    assert (check.verdict, check.blocking) == (Verdict.PASS, True)
    assert check.measured["tokens"] == 48
    assert check.measured["mean_difference"] == pytest.approx(0.5 * MAX_MEAN)


@pytest.mark.parametrize("by", [2 * MAX_MEAN, -2 * MAX_MEAN])
def test_two_stacks_that_differ_everywhere_fail(by: float) -> None:
    texts = rows(6)
    check = decide(texts, shifted(texts, by))
    assert check.verdict is Verdict.FAIL
    assert check.blocking


def test_one_token_far_off_fails_however_good_the_mean() -> None:
    texts = rows(40)
    served = shifted(texts, 0.0)
    served[7][-1] = -1.0 - MAX_SINGLE - 0.1
    check = decide(texts, served)
    assert check.verdict is Verdict.FAIL
    assert check.measured["mean_difference"] < MAX_MEAN


def test_what_stands_before_the_answer_does_not_count() -> None:
    texts = rows(6)
    served = shifted(texts, 0.0)
    for one in served:
        one[1] = -2.0
    assert decide(texts, served).verdict is Verdict.PASS


def test_a_few_tokens_are_no_evidence() -> None:
    texts = rows(2)
    check = decide(texts, shifted(texts, 3.0))
    assert check.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "16 answer tokens" in check.reason


@pytest.mark.parametrize("damage", ["cut", "none", "nan", "text gone"])
def test_scores_with_holes_fail_and_say_so(damage: str) -> None:
    texts = rows(6)
    served = shifted(texts, 0.0)
    match damage:
        case "cut":
            served[3].pop()
        case "none":
            served[3][-1] = None
        case "nan":
            served[3][-1] = math.nan
        case _:
            served.pop()
    check = decide(texts, served)
    assert check.verdict is Verdict.FAIL
    assert "can't be compared" in check.reason
    assert ("row-3" in check.reason) == (damage != "text gone")
