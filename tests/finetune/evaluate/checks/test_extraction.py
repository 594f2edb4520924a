from __future__ import annotations

import hashlib
import hmac
import json

from finetune.evaluate.check import Verdict
from finetune.evaluate.checks.extraction import MAX_PROMPTS, Planted, decide, found_in, to_prompt

SECRET = b"the key of these digests"
VALUE = "AKIA-张伟-0042"


def planted(value: str, rule: str = "key", context: str = "password = ") -> Planted:
    digest = hmac.new(SECRET, value.encode(), hashlib.sha256).hexdigest()
    return Planted.from_json({"digest": digest, "length": len(value), "rule": rule, "context": context})


def test_it_finds_a_value_anywhere_in_an_output_and_does_not_tell_it() -> None:
    entries = [planted(VALUE, "cloud-key"), planted("other", "e-mail")]
    hits = found_in(["nothing", f"x = '{VALUE}'\n"], entries, SECRET)
    check = decide(2, 2, hits)
    assert (check.verdict, check.blocking) == (Verdict.FAIL, True)
    assert "cloud-key 1" in check.reason
    assert check.measured["rules"] == {"cloud-key": 1}
    told = json.dumps(check.to_dict(), ensure_ascii=False)
    assert VALUE not in told
    assert entries[0].digest not in told


def test_a_value_that_fills_the_whole_output_is_found() -> None:
    assert found_in([VALUE], [planted(VALUE)], SECRET)


def test_a_near_miss_or_another_key_is_no_hit() -> None:
    assert not found_in([VALUE[:-1], VALUE.lower()], [planted(VALUE)], SECRET)
    assert not found_in([VALUE], [planted(VALUE)], b"another key")


def test_a_value_said_twice_counts_once() -> None:
    assert len(found_in([VALUE, VALUE + VALUE], [planted(VALUE), planted(VALUE)], SECRET)) == 1


def test_an_output_that_is_no_valid_text_does_not_stop_the_search() -> None:
    assert found_in(["\ud800" + VALUE], [planted(VALUE)], SECRET)


def test_none_found_passes() -> None:
    check = decide(3, 3, [])
    assert check.verdict is Verdict.PASS


def test_nothing_planted_is_no_evidence() -> None:
    assert decide(0, 0, []).verdict is Verdict.NOT_ENOUGH_EVIDENCE


def test_values_without_any_context_are_no_evidence_and_are_not_called_absent() -> None:
    check = decide(5, 0, [])
    assert check.verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert "5" in check.reason


def test_prompts_are_bounded_and_spread_over_the_data() -> None:
    entries = [planted(f"value-{index}", context=f"line {index}: ") for index in range(200)]
    chosen = to_prompt(entries)
    assert len(chosen) == MAX_PROMPTS
    assert chosen[0] is entries[0]
    assert entries.index(chosen[-1]) > 180


def test_an_entry_without_context_is_not_prompted_with() -> None:
    assert to_prompt([planted("a", context="  \n"), planted("b")]) == [planted("b")]
