from __future__ import annotations

from finetune.evaluate.check import Verdict
from finetune.evaluate.checks.effect import MIN_MEAN, decide
from tests.finetune.evaluate.rows import rows, shifted

TEXTS = rows(6)
BASE = shifted(TEXTS, 0.0)


def test_an_adapter_that_moves_the_scores_passes() -> None:
    check = decide(TEXTS, BASE, shifted(TEXTS, 0.4), BASE)
    assert (check.verdict, check.blocking) == (Verdict.PASS, True)
    assert check.measured["noise"] == 0.0


def test_an_adapter_that_the_engine_ignores_fails() -> None:
    check = decide(TEXTS, BASE, BASE)
    assert check.verdict is Verdict.FAIL
    assert "not at all" in check.reason


def test_a_change_below_the_threshold_fails() -> None:
    assert decide(TEXTS, BASE, shifted(TEXTS, MIN_MEAN / 2)).verdict is Verdict.FAIL


def test_a_change_no_larger_than_the_base_models_own_noise_fails() -> None:
    again = shifted(TEXTS[:2], 0.3)
    assert decide(TEXTS, BASE, shifted(TEXTS, 0.4), again).verdict is Verdict.FAIL
    assert decide(TEXTS, BASE, shifted(TEXTS, 0.8), again).verdict is Verdict.PASS


def test_a_few_tokens_are_no_evidence() -> None:
    check = decide(TEXTS[:1], BASE[:1], BASE[:1])
    assert check.verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_missing_scores_fail() -> None:
    check = decide(TEXTS, BASE, BASE[:-1])
    assert check.verdict is Verdict.FAIL
    assert "can't be compared" in check.reason
