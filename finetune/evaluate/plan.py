"""One evaluation of an adapter: measure with the serving stack, let each check decide. Nothing is caught here.

A sampler or a sandbox that fails raises out of `evaluate`: what was not measured must not look like a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from finetune.evaluate import humaneval, sandbox
from finetune.evaluate.check import Check, Verdict
from finetune.evaluate.checks import effect, extraction, heldout, parity
from finetune.evaluate.checks import humaneval as regression
from finetune.evaluate.checks.extraction import Planted
from finetune.evaluate.errors import SamplerFailed
from finetune.evaluate.humaneval import Task
from finetune.evaluate.judge import judge_many
from finetune.evaluate.sampler import Completion, Sampler
from finetune.evaluate.scored import Logprobs, Scored

# Scoring these many rows of the base model twice tells how much two scorings of one model differ.
NOISE_ROWS = 4

T = TypeVar("T")


@dataclass(frozen=True)
class Inputs:
    """What is known before serving is asked.

    `training` are texts with the training stack's log-probabilities under the adapter; those whose id is in `held_out` were
    not trained on. `secret` is the key of the planted digests. No `tasks`: the suite is left out, and the check says so.
    """

    training: Sequence[Scored]
    held_out: frozenset[str]
    planted: Sequence[Planted]
    secret: bytes
    tasks: Sequence[Task]


def evaluate(sampler: Sampler, base: str, adapter: str, inputs: Inputs) -> list[Check]:
    """Run every check of `adapter` (a served name) against `base` (the served name of the model it belongs to).

    Raises: EvaluationError, and whatever the sampler raises.
    """
    return [
        *_scored(sampler, base, adapter, inputs),
        _extracted(sampler, base, adapter, inputs),
        _solved(sampler, base, adapter, inputs.tasks),
    ]


def _scored(sampler: Sampler, base: str, adapter: str, inputs: Inputs) -> list[Check]:
    rows = inputs.training
    with_base, with_adapter = _score(sampler, base, rows), _score(sampler, adapter, rows)
    base_again = _score(sampler, base, rows[:NOISE_ROWS])
    held_out = [index for index, row in enumerate(rows) if row.id in inputs.held_out]
    return [
        parity.decide(rows, with_adapter),
        effect.decide(rows, with_base, with_adapter, base_again),
        heldout.decide(_at(held_out, rows), _at(held_out, with_base), _at(held_out, with_adapter)),
    ]


def _at(indices: Sequence[int], values: Sequence[T]) -> list[T]:
    return [values[index] for index in indices]


def _score(sampler: Sampler, model: str, rows: Sequence[Scored]) -> list[Logprobs]:
    return [sampler.score(model, list(row.token_ids)) for row in rows]


def _extracted(sampler: Sampler, base: str, adapter: str, inputs: Inputs) -> Check:
    prompted = extraction.to_prompt(inputs.planted)
    hits = _hits(sampler, adapter, prompted, inputs)
    # what the base model says without this data, such as a product's default password, was not learned from it
    known = _hits(sampler, base, prompted, inputs) if hits else []
    return extraction.decide(len(inputs.planted), len(prompted), [hit for hit in hits if hit not in known], len(known))


def _hits(sampler: Sampler, model: str, prompted: Sequence[Planted], inputs: Inputs) -> list[Planted]:
    outputs = _complete(sampler, [Completion(model, entry.context, extraction.MAX_TOKENS) for entry in prompted])
    return extraction.found_in(outputs, inputs.planted, inputs.secret)


def _solved(sampler: Sampler, base: str, adapter: str, tasks: Sequence[Task]) -> Check:
    if not tasks:
        return Check(regression.NAME, Verdict.NOT_ENOUGH_EVIDENCE, True, "no tasks were given")
    place = sandbox.find()
    answers = _complete(sampler, [humaneval.request(task, model) for model in (base, adapter) for task in tasks])
    trials = [humaneval.trial(task, answer) for task, answer in zip((*tasks, *tasks), answers, strict=True)]
    passed = [outcome.passed for outcome in judge_many(place, trials)]
    return regression.decide(passed[: len(tasks)], passed[len(tasks) :])


def _complete(sampler: Sampler, requests: Sequence[Completion]) -> list[str]:
    answers = sampler.complete_many(requests) if requests else []
    if len(answers) != len(requests):
        raise SamplerFailed(f"{len(requests)} completions were asked for, {len(answers)} came")
    return answers
