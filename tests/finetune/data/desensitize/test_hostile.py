"""Texts made to cost time or memory, and secrets that can't be located."""

from __future__ import annotations

import base64
import time

import pytest
from pybetterleaks import Finding

from finetune.data.desensitize import cleaner as cleaner_module
from finetune.data.desensitize import credentials, private_keys, scanner
from finetune.data.desensitize.censor import censor
from finetune.data.desensitize.cleaner import Cleaner
from finetune.data.desensitize.placeholders import Placeholders

FIRST = "-----BEGIN PRIVATE KEY-----\n"
HOSTILE = [
    FIRST + "Version a b c d e f\n" * 20_000,
    FIRST + "Version: " * 50_000,
    FIRST * 20_000,
    FIRST + "a " * 200_000,
    FIRST + "\\n" * 200_000,
    FIRST + "-----END " * 50_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_private_key_without_an_end_costs_no_more_than_other_text(text: str) -> None:
    started = time.process_time()
    assert list(private_keys.find(text)) == []
    assert time.process_time() - started < 5


def test_a_hostile_name_is_censored_in_no_time() -> None:
    started = time.process_time()
    censor((FIRST + "Version a b c d e f\n" * 9)[:200])
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "text", ["password=" * 40_000, "password" + " " * 300_000, "token=a1" * 40_000, "pass: x2 # " * 30_000]
)
def test_telling_names_in_masses_cost_no_more_than_other_text(text: str) -> None:
    started = time.process_time()
    list(credentials.find(text))
    assert time.process_time() - started < 10


def test_many_encoded_secrets_in_one_text_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [f"ghp_{number:06}7890abcdefghijABCDEFGHIJ123456" for number in range(50)]
    words = [base64.b64encode(f"token {token} end".encode()).decode() for token in tokens]
    decoded: list[str] = []
    real = scanner._decoded

    def counting(token: str) -> str:
        decoded.append(token)
        return real(token)

    monkeypatch.setattr(scanner, "_decoded", counting)
    found = {item.value for item in scanner.scan(["\n".join(f'x = "{word}"' for word in words)])}
    assert len(found & set(words)) > 10
    assert len(decoded) == len(set(decoded))


def test_a_secret_that_stands_nowhere_makes_its_row_unclean(monkeypatch: pytest.MonkeyPatch) -> None:
    class _Result:
        errors = ()
        findings = (Finding(rule_id="some-rule", secret="nowhere", line=0, tags=()),)  # type: ignore[call-arg]

    monkeypatch.setattr(scanner, "scan_text", lambda *_, **__: _Result())
    cleaner = Cleaner(Placeholders(b"key"))
    list(cleaner.learn([(7, ("some text: token = a1b2c3d4e5f6",))]))
    assert cleaner.unclean == {7}


def test_who_counts_what_is_held_is_asked_long_before_a_batch_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaner_module, "LOOK_CHARACTERS", 10_000)
    line = 'password = "k{}vQ8zL2"\n'
    texts = ["".join(line.format(number * 100 + n) for n in range(100)) for number in range(10)]
    cleaner = Cleaner(Placeholders(b"key"))
    looks = [cleaner.num_values for _ in cleaner.learn(enumerate((text,) for text in texts))]
    assert len(looks) >= 3
    assert 0 < looks[1] < looks[-1] == 1000
