"""HumanEval: its tasks, the prompts made of them, and the program that a completion amounts to.

Where the file comes from is `ops.suites`' matter, running the programs is `judge`'s.
"""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.evaluate.errors import TasksDamaged
from finetune.evaluate.judge import Trial
from finetune.evaluate.sampler import Completion

SEED = 0
# Eight tasks tell little, and the check says so; they keep an evaluation of a small model on two cores under half a minute.
DEFAULT_COUNT = 8
MAX_TOKENS = 160
# What follows a finished function at the margin; vLLM takes four at most.
STOPS = ("\ndef ", "\n#", "\nassert ", "\nprint(")
FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL)
# Other statements at the margin are the model's own trials and prints, which can fail without the function being wrong.
KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


@dataclass(frozen=True)
class Task:
    """One task as published: `prompt` ends after the docstring of the function to write."""

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str


def load(path: Path) -> list[Task]:
    """Read a HumanEval.jsonl.

    Raises: TasksDamaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Task(**json.loads(line)) for line in lines if line.strip()]
    except (OSError, ValueError, TypeError) as error:
        raise TasksDamaged(f"{path} holds no HumanEval tasks ({error}): remove it, and it is fetched again") from error


def choose(tasks: Sequence[Task], count: int = DEFAULT_COUNT, seed: int = SEED) -> list[Task]:
    """The same `count` tasks for the same seed, in the tasks' order."""
    drawn = random.Random(seed).sample(range(len(tasks)), min(count, len(tasks)))  # noqa: S311 - a reproducible sample
    return [tasks[index] for index in sorted(drawn)]


def request(task: Task, model: str) -> Completion:
    """Ask for the function's body, greedily.

    The prompt's last line end is left out: after it small models start with a line end and `def`, which is a stop string,
    and every answer is empty.
    """
    return Completion(model, task.prompt.rstrip(), MAX_TOKENS, 0.0, STOPS)


def trial(task: Task, completion: str) -> Trial:
    """What to run for a completion."""
    reference = task.prompt + task.canonical_solution
    return Trial(program(task, completion), task.entry_point, reference, task.test)


def program(task: Task, completion: str) -> str:
    """The program a completion amounts to, or the bare prompt where it holds no function.

    A whole function counts, whatever comes after it: text, a second function, or one that the token limit cut.
    """
    for start, answer in _readings(task, completion):
        found = _longest(start, answer.splitlines(), task.entry_point)
        if found is not None:
            return found
    return task.prompt


def _readings(task: Task, completion: str) -> Iterator[tuple[str, str]]:
    """What the completion may be: a fenced program, the rest of the function, the same without its first line end."""
    stripped = task.prompt.rstrip()
    before = task.prompt[: task.prompt.rindex(f"def {task.entry_point}")]
    for block in FENCE.findall(completion):
        yield before, block
        yield stripped + "\n", block
    yield stripped, completion
    yield stripped + "\n", completion
    yield before, completion


def _longest(start: str, lines: list[str], entry_point: str) -> str | None:
    """The most lines that parse after `start` and hold the function, as a program."""
    for count in range(len(lines), 0, -1):
        try:
            module = ast.parse(start + "\n".join(lines[:count]))
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        return _cleaned(module, entry_point)
    return None


def _cleaned(module: ast.Module, entry_point: str) -> str | None:
    first = next((node for node in module.body if _is_whole(node, entry_point)), None)
    if first is None:
        return None
    module.body = [
        node for node in module.body if node is first or (isinstance(node, KEPT) and _name(node) != entry_point)
    ]
    return ast.unparse(module)


def _is_whole(node: ast.stmt, name: str) -> bool:
    """A function of that name with more than a docstring in it."""
    body = node.body if isinstance(node, ast.FunctionDef) and node.name == name else []
    return any(not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)) for part in body)


def _name(node: ast.stmt) -> str | None:
    return getattr(node, "name", None)
