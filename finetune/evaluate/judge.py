"""The verdict on generated code: two sandboxes, one with the code, one with the task's tests.

The code can print, exit, hang or lie as it likes: it holds no descriptor that a verdict could come over. Only the
tester's side does, and that side runs nothing but the task.
"""

from __future__ import annotations

import json
import os
import select
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

from finetune.evaluate.errors import SandboxBroken
from finetune.evaluate.sandbox import Sandbox, stop

MAX_PROGRAM_CHARS = 200_000
MAX_VERDICT_BYTES = 4096
READY = b"ready"
TOO_SLOW = "no verdict in time"
NO_VERDICT = "the tests ended without a verdict"


@dataclass(frozen=True)
class Trial:
    """A program whose `entry_point` is to pass `test`; `reference` is a right program, for the tests' own use."""

    program: str
    entry_point: str
    reference: str
    test: str


@dataclass(frozen=True)
class Outcome:
    """Whether the tests passed, and in a few words why or why not."""

    passed: bool
    why: str


def judge(sandbox: Sandbox, trial: Trial) -> Outcome:
    """Run one program against its tests.

    Raises: SandboxBroken when the tests' own side does not get as far as running.
    """
    if len(trial.program) > MAX_PROGRAM_CHARS:
        return Outcome(False, "the program is too long")
    task = {"reference": trial.reference, "test": trial.test, "entry_point": trial.entry_point}
    with ExitStack() as held:
        calls, answers, verdict = (_Pipe(held) for _ in range(3))
        program, tests = (held.enter_context(_file(text)) for text in (trial.program, json.dumps(task)))
        asked = ["candidate", str(calls.read), str(answers.write), trial.entry_point]
        candidate = sandbox.start(asked, program.fileno(), [calls.read, answers.write])
        held.callback(stop, candidate)
        asked = ["tester", str(calls.write), str(answers.read), str(verdict.write)]
        tester = sandbox.start(asked, tests.fileno(), [calls.write, answers.read, verdict.write])
        held.callback(stop, tester)
        for pipe in (calls, answers):
            pipe.close()
        verdict.close_write()
        return _outcome(*_read(verdict.read, sandbox.limits.wall_s))


def judge_many(sandbox: Sandbox, trials: Sequence[Trial], workers: int = 2) -> list[Outcome]:
    """The outcomes in the order of the trials; two workers keep two cores busy."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda trial: judge(sandbox, trial), trials))


class _Pipe:
    """A pipe whose ends close with what holds it, if not before."""

    def __init__(self, held: ExitStack) -> None:
        self.read, self.write = os.pipe()
        self._open = {self.read, self.write}
        held.callback(self.close)

    def close_write(self) -> None:
        self._close({self.write})

    def close(self) -> None:
        self._close({self.read, self.write})

    def _close(self, ends: set[int]) -> None:
        for end in self._open & ends:
            os.close(end)
        self._open -= ends


def _file(text: str) -> IO[bytes]:
    """The text as an open file without a name, for reading only: it may go to generated code."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode("utf-8", "replace"))
        file.flush()
        return open(file.name, "rb")


def _read(descriptor: int, seconds: float) -> tuple[bytes, bool]:
    """What came up to the second line or the stream's end, and whether either came in time."""
    deadline, said = time.monotonic() + seconds, b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while said.count(b"\n") < 2 and len(said) < MAX_VERDICT_BYTES:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            return said, False
        piece = os.read(descriptor, MAX_VERDICT_BYTES)
        if not piece:
            break
        said += piece
    return said, True


def _outcome(said: bytes, in_time: bool) -> Outcome:
    ready, _, verdict = said.partition(b"\n")
    if ready != READY:
        raise SandboxBroken("a sandbox did not start; is the machine out of memory or of processes?")
    if not verdict.endswith(b"\n"):
        return Outcome(False, NO_VERDICT if in_time else TOO_SLOW)
    found = json.loads(verdict)
    return Outcome(found["passed"] is True, str(found["why"]))
