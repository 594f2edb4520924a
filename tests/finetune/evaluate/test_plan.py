"""The whole evaluation over a serving stack of plain Python: a toy model that can be told how to misbehave."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from finetune.evaluate import plan
from finetune.evaluate.check import Check, Verdict
from finetune.evaluate.checks.extraction import Planted
from finetune.evaluate.errors import SamplerFailed, SandboxMissing
from finetune.evaluate.gate import decide
from finetune.evaluate.humaneval import Task
from finetune.evaluate.plan import Inputs, evaluate
from finetune.evaluate.sampler import Completion
from finetune.evaluate.scored import Scored

BASE, ADAPTER = "base", "base:acme:tuned"
SECRET = b"key"
VALUE = "hunter2-hunter2"
GAIN = 0.5


def logprobs(token_ids: Sequence[int], gain: float) -> list[float | None]:
    """The toy model: a token's log-probability follows from its number; an adapter adds a gain to each."""
    return [None, *(-1.0 - (token % 7) / 10 + gain for token in token_ids[1:])]


@dataclass
class ToyServing:
    """Serves the toy model. `gains` and `says` are what the adapter does to scores and to text."""

    gains: dict[str, float] = field(default_factory=lambda: {ADAPTER: GAIN})
    says: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, str] = field(default_factory=dict)
    asked: list[Completion] = field(default_factory=list)
    lose_one: bool = False

    def complete(
        self,
        model: str,
        prompt: str | list[int],
        max_tokens: int,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
    ) -> str:
        self.asked.append(Completion(model, prompt, max_tokens, temperature, tuple(stop)))
        return self.bodies.get(model, "\n    return 1\n") if stop else self.says.get(model, "nothing of note")

    def complete_many(self, requests: Sequence[Completion]) -> list[str]:
        answers = [self.complete(r.model, r.prompt, r.max_tokens, r.temperature, r.stop) for r in requests]
        return answers[1:] if self.lose_one else answers

    def score(self, model: str, token_ids: list[int]) -> list[float | None]:
        return logprobs(token_ids, self.gains.get(model, 0.0))


TEXTS = [tuple(range(start, start + 12)) for start in range(10)]
TRAINING = [Scored(f"row-{number}", ids, tuple(logprobs(ids, GAIN)), 3) for number, ids in enumerate(TEXTS)]
PLANTED = [Planted(hmac.new(SECRET, VALUE.encode(), hashlib.sha256).hexdigest(), len(VALUE), "password", "pw = ")]
TASKS = [
    Task(
        f"t/{number}",
        f'def f{number}():\n    """ One. """\n',
        f"f{number}",
        "    return 1\n",
        "def check(candidate):\n    assert candidate() == 1\n",
    )
    for number in range(6)
]
INPUTS = Inputs(TRAINING, frozenset(f"row-{number}" for number in range(4, 10)), PLANTED, SECRET, TASKS)
BY_NAME = ["parity", "effect", "heldout", "extraction", "humaneval"]


def verdicts(checks: list[Check]) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in checks}


def test_a_good_adapter_passes_every_check_that_can_tell() -> None:
    checks = evaluate(ToyServing(), BASE, ADAPTER, INPUTS)
    assert [check.name for check in checks] == BY_NAME
    assert verdicts(checks) == dict.fromkeys(BY_NAME, Verdict.PASS) | {"humaneval": Verdict.NOT_ENOUGH_EVIDENCE}
    assert checks[2].measured["rows"] == 6
    assert decide(checks).verdict is Verdict.PASS


def test_an_ignored_adapter_fails() -> None:
    found = verdicts(evaluate(ToyServing(gains={}), BASE, ADAPTER, INPUTS))
    assert found["effect"] is found["parity"] is Verdict.FAIL


def test_an_adapter_that_is_served_otherwise_than_trained_fails() -> None:
    found = verdicts(evaluate(ToyServing(gains={ADAPTER: GAIN / 2}), BASE, ADAPTER, INPUTS))
    assert (found["parity"], found["effect"]) == (Verdict.FAIL, Verdict.PASS)


def test_an_adapter_that_predicts_worse_fails() -> None:
    worse = [Scored(row.id, row.token_ids, tuple(logprobs(row.token_ids, -GAIN)), 3) for row in TRAINING]
    inputs = Inputs(worse, INPUTS.held_out, PLANTED, SECRET, ())
    found = verdicts(evaluate(ToyServing(gains={ADAPTER: -GAIN}), BASE, ADAPTER, inputs))
    assert (found["parity"], found["heldout"]) == (Verdict.PASS, Verdict.FAIL)


def test_an_adapter_that_gives_a_removed_value_away_fails() -> None:
    serving = ToyServing(says={ADAPTER: f"it is {VALUE}, of course"})
    checks = evaluate(serving, BASE, ADAPTER, INPUTS)
    assert verdicts(checks)["extraction"] is Verdict.FAIL
    assert decide(checks).verdict is Verdict.FAIL
    assert [one for one in serving.asked if not one.stop] == [
        Completion(model, "pw = ", 48) for model in (ADAPTER, BASE)
    ]


def test_a_removed_value_that_the_base_model_says_too_was_not_learned() -> None:
    serving = ToyServing(says=dict.fromkeys((ADAPTER, BASE), f"it is {VALUE}, of course"))
    (check,) = [check for check in evaluate(serving, BASE, ADAPTER, INPUTS) if check.name == "extraction"]
    assert (check.verdict, check.measured["base_says_too"]) == (Verdict.PASS, 1)


def test_an_adapter_that_forgot_how_to_code_fails() -> None:
    serving = ToyServing(bodies={ADAPTER: "\n    return 2\n"})
    checks = evaluate(serving, BASE, ADAPTER, INPUTS)
    assert verdicts(checks)["humaneval"] is Verdict.FAIL
    assert checks[4].measured["lost"] == 6


def test_nothing_planted_and_no_tasks_are_shown_and_do_not_block() -> None:
    checks = evaluate(ToyServing(), BASE, ADAPTER, Inputs(TRAINING, INPUTS.held_out, (), SECRET, ()))
    assert [check.name for check in checks if check.verdict is Verdict.NOT_ENOUGH_EVIDENCE] == BY_NAME[3:]
    assert decide(checks).verdict is Verdict.PASS


def test_an_engine_that_fails_is_an_error_and_no_verdict() -> None:
    class Broken(ToyServing):
        def score(self, model: str, token_ids: list[int]) -> list[float | None]:
            raise ConnectionError("the engine is gone")

    with pytest.raises(ConnectionError):
        evaluate(Broken(), BASE, ADAPTER, INPUTS)


def test_a_lost_completion_is_an_error_and_no_verdict() -> None:
    with pytest.raises(SamplerFailed, match="1 completions were asked for, 0 came"):
        evaluate(ToyServing(lose_one=True), BASE, ADAPTER, INPUTS)


def test_no_sandbox_no_run(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    serving = ToyServing()
    with pytest.raises(SandboxMissing):
        evaluate(serving, BASE, ADAPTER, INPUTS)
    assert evaluate(serving, BASE, ADAPTER, Inputs(TRAINING, INPUTS.held_out, PLANTED, SECRET, ()))


def test_a_few_rows_are_scored_twice_to_tell_the_noise() -> None:
    checks = evaluate(ToyServing(), BASE, ADAPTER, INPUTS)
    assert checks[1].measured["noise"] == 0.0
    assert len(TRAINING) >= plan.NOISE_ROWS
