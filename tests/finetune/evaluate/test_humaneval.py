"""The suite's tasks in the real sandbox, and what a completion amounts to."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune.evaluate import humaneval
from finetune.evaluate.errors import TasksDamaged
from finetune.evaluate.humaneval import MAX_TOKENS, STOPS, Task
from finetune.evaluate.judge import judge, judge_many
from finetune.evaluate.sandbox import Sandbox

TASK = Task(
    task_id="Test/0",
    prompt="from typing import List\n\n\ndef half(n: int) -> int:\n    return n // 2\n\n\n"
    'def total(values: List[int]) -> int:\n    """ Add up. """\n',
    entry_point="total",
    canonical_solution="    return sum(values)\n",
    test="def check(candidate):\n    assert candidate([1, half(4)]) == 3\n    assert candidate([]) == 0\n",
)
BODY = "\n    found = 0\n    for value in values:\n        found += value\n    return found\n"
WHOLE = f"def total(values):{BODY}"
CUT = "\n\ndef other(n):\n    if n > (1 +"

RIGHT = {
    "the body": BODY,
    "the body without its first line end": BODY.lstrip("\n"),
    "a cut function after it": BODY + CUT,
    "a cut repetition of it, that parses": BODY + "\n\ndef total(values):\n    found = 0\n",
    "a cut docstring after it": BODY + '\n\ndef other():\n    """ What',
    "talk after it": BODY + "\nThis function adds up the values.",
    "a wrong trial of its own after it": BODY + "\nassert total([1]) == 2\nprint(total([1]))\n",
    "a helper after it": "\n    return added(values)\n\ndef added(values):\n    return sum(values)\n",
    "the whole function": "\n\n" + WHOLE,
    "a fenced program": f"Here it is:\n```python\n{WHOLE}```\nIt adds up.",
    "a fenced program that was cut after the function": f"```python\n{WHOLE}{CUT}",
    "a fenced body": f"```\n{BODY.lstrip(chr(10))}```",
    "a fenced program with an import": f"```py\nimport math\n\n{WHOLE.replace('= 0', '= math.floor(0)')}\n```",
}


@pytest.mark.parametrize("completion", RIGHT.values(), ids=RIGHT)
def test_a_right_function_counts_whatever_stands_around_it(place: Sandbox, completion: str) -> None:
    assert judge(place, humaneval.trial(TASK, completion)).passed


WRONG = [
    "",
    "\n",
    "def",
    "\n    pass\n",
    "\n    return 0\n",
    "\n    found = 0\n    for value in",
    "```python\n```",
    "I can't.",
]


@pytest.mark.parametrize("completion", WRONG)
def test_what_is_no_right_function_does_not_count(place: Sandbox, completion: str) -> None:
    assert not judge(place, humaneval.trial(TASK, completion)).passed


def test_a_prompt_ends_without_its_line_end_and_stops_fit_the_engine(tasks: list[Task]) -> None:
    for task in tasks:
        asked = humaneval.request(task, "a-model")
        assert asked.prompt == task.prompt.rstrip()
        assert (asked.temperature, asked.max_tokens) == (0.0, MAX_TOKENS)
    assert len(STOPS) <= 4
    assert not any(task.canonical_solution.rstrip("\n").find(stop) >= 0 for task in tasks for stop in STOPS[1:])


def test_the_same_tasks_are_chosen_each_time(tasks: list[Task]) -> None:
    chosen = humaneval.choose(tasks)
    assert chosen == humaneval.choose(tasks)
    assert len(chosen) == len(set(chosen)) == humaneval.DEFAULT_COUNT
    assert humaneval.choose(tasks, seed=1) != chosen
    assert humaneval.choose(tasks, count=1000) == tasks


def test_every_published_solution_passes(place: Sandbox, tasks: list[Task]) -> None:
    trials = [humaneval.trial(task, task.canonical_solution) for task in tasks]
    outcomes = judge_many(place, trials)
    assert len(outcomes) == 164
    assert [(task.task_id, found.why) for task, found in zip(tasks, outcomes, strict=True) if not found.passed] == []


def test_no_task_passes_with_another_ones_solution_or_with_nothing(place: Sandbox, tasks: list[Task]) -> None:
    trials = [humaneval.trial(task, "    return None\n") for task in tasks[::4]]
    assert not any(outcome.passed for outcome in judge_many(place, trials))


def test_a_file_that_holds_no_tasks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "HumanEval.jsonl"
    for content in ("{", '{"task_id": "x"}', "[1]"):
        path.write_text(content)
        with pytest.raises(TasksDamaged, match="remove it"):
            humaneval.load(path)
    with pytest.raises(TasksDamaged):
        humaneval.load(tmp_path / "absent")
