from __future__ import annotations

from finetune.evaluate.check import Verdict
from finetune.evaluate.checks.heldout import MIN_ROWS, decide
from tests.finetune.evaluate.rows import rows, shifted


def test_a_lower_loss_on_every_row_passes() -> None:
    texts = rows(MIN_ROWS)
    check = decide(texts, shifted(texts, 0.0), shifted(texts, 0.5))
    assert check.verdict is Verdict.PASS
    assert (check.measured["base_loss"], check.measured["adapter_loss"]) == (1.0, 0.5)


def test_a_higher_loss_on_every_row_fails() -> None:
    texts = rows(MIN_ROWS)
    check = decide(texts, shifted(texts, 0.0), shifted(texts, -0.5))
    assert (check.verdict, check.blocking) == (Verdict.FAIL, True)
    assert "worse" in check.reason


def test_four_rows_are_too_few_however_much_better() -> None:
    texts = rows(MIN_ROWS - 1)
    check = decide(texts, shifted(texts, 0.0), shifted(texts, 0.9))
    assert check.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "too few rows" in check.reason


def test_mixed_rows_are_no_evidence_either_way() -> None:
    texts = rows(30)
    after = shifted(texts[:16], 0.3) + shifted(texts[16:], -0.3)
    check = decide(texts, shifted(texts, 0.0), after)
    assert check.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "chance" in check.reason


def test_many_rows_show_a_small_gain() -> None:
    texts = rows(60)
    after = shifted(texts[:42], 0.02) + shifted(texts[42:], -0.01)
    assert decide(texts, shifted(texts, 0.0), after).verdict is Verdict.PASS


def test_no_rows_are_no_evidence() -> None:
    assert decide([], [], []).verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_missing_scores_fail() -> None:
    texts = rows(8)
    assert decide(texts, shifted(texts, 0.0), shifted(texts, 0.5)[:-1]).verdict is Verdict.FAIL
