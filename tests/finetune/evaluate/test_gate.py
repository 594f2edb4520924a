from __future__ import annotations

import json

import pytest

from finetune.evaluate.check import Check, Verdict
from finetune.evaluate.gate import REQUIRED, decide

P, F, N = Verdict.PASS, Verdict.FAIL, Verdict.NOT_ENOUGH_EVIDENCE


def checks(*verdicts: Verdict, blocking: bool = True) -> list[Check]:
    names = (*REQUIRED, "humaneval")
    return [Check(name, verdict, blocking, f"because {name}") for name, verdict in zip(names, verdicts, strict=True)]


def test_all_passed_passes_without_a_word() -> None:
    gate = decide(checks(P, P, P, P, P))
    assert (gate.verdict, gate.reasons) == (P, ())


@pytest.mark.parametrize("place", range(5))
def test_any_one_blocking_failure_fails(place: int) -> None:
    verdicts = [P] * 5
    verdicts[place] = F
    gate = decide(checks(*verdicts))
    assert gate.verdict is F
    assert gate.reasons == (f"{(*REQUIRED, 'humaneval')[place]}: because {(*REQUIRED, 'humaneval')[place]}",)


def test_missing_evidence_is_shown_and_does_not_block() -> None:
    gate = decide(checks(P, P, N, N, N))
    assert gate.verdict is P
    assert len(gate.reasons) == 3


def test_a_failure_that_does_not_block_is_shown() -> None:
    gate = decide([*checks(P, P, P, P, P), Check("style", F, False, "long lines")])
    assert (gate.verdict, gate.reasons) == (P, ("style: long lines",))


def test_what_failed_stands_before_what_lacked_evidence() -> None:
    assert [reason.split(":")[0] for reason in decide(checks(N, F, P, P, P)).reasons] == ["effect", "parity"]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_check_that_was_left_out_fails(name: str) -> None:
    gate = decide([check for check in checks(P, P, P, P, P) if check.name != name])
    assert (gate.verdict, gate.reasons) == (F, (f"{name}: was not run",))


def test_no_checks_at_all_fail() -> None:
    assert decide([]).verdict is F


def test_findings_become_json() -> None:
    check = Check("parity", F, True, "differ", {"tokens": 4, "mean": 0.5})
    told = json.loads(json.dumps(check.to_dict()))
    expected = {"name": "parity", "verdict": "fail", "blocking": True, "reason": "differ"}
    assert told == expected | {"measured": {"tokens": 4, "mean": 0.5}}
    assert json.loads(json.dumps(decide([]).to_dict()))["verdict"] == "fail"
