"""What runs inside a sandbox: one side of a judged run. A script of the standard library alone, started by its path.

The candidate's side holds generated code and answers calls; the tester's side holds the task's tests, makes the calls and
gives the verdict. They share two pipes. Arguments go over as `repr`, and what comes back is read as a literal: generated
code never sees a test, and no object of its making reaches one.

    inside.py CPU_S MEMORY_BYTES FILE_BYTES OPEN_FILES LIFE candidate REQUESTS ANSWERS ENTRY_POINT < program
    inside.py CPU_S MEMORY_BYTES FILE_BYTES OPEN_FILES LIFE tester REQUESTS ANSWERS VERDICT < task.json
"""

import ast
import fcntl
import json
import os
import resource
import select
import sys
from collections.abc import Callable
from typing import Any

MAX_ANSWER_BYTES = 2**20
# Each side says that it runs before any code of the other kind does: what fails earlier is the sandbox's fault.
READY = b"ready\n"
VALUE, ERROR = b"V", b"E"


class CandidateFault(Exception):
    """The candidate's side raised, ended, or said something unreadable. `kind` is a word of ours."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def end_with(life: int) -> None:
    """End as soon as nobody holds the other end of this pipe any more: at once, or by a signal (SIGIO) later."""
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(life, 0)
    if poll.poll(0):
        sys.exit(1)


def limit(cpu_s: int, memory_bytes: int, file_bytes: int, open_files: int) -> None:
    """Set the limits, for good: the sandbox has no right to raise them."""
    limits = {
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: open_files,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, most))


def play_candidate(requests: int, answers: int, entry_point: str) -> None:
    """Load the program, then answer every call to its function."""
    program = sys.stdin.buffer.read().decode()
    _write_all(answers, READY)
    namespace: dict[str, Any] = {"__name__": "candidate"}
    fault = _attempt(lambda: exec(compile(program, "candidate", "exec"), namespace))  # noqa: S102 - this is the sandbox
    with os.fdopen(requests, "rb") as calls:
        for line in calls:
            answer = fault or _answer(namespace.get(entry_point), line)
            _write_all(answers, answer + b"\n")


def _answer(function: Any, line: bytes) -> bytes:
    args, kwargs = ast.literal_eval(line.decode())
    said: list[bytes] = []
    fault = _attempt(lambda: said.append(VALUE + repr(function(*args, **kwargs)).encode()))
    return fault or said[0]


def _attempt(action: Callable[[], Any]) -> bytes:
    try:
        action()
    except BaseException:  # noqa: BLE001 - generated code may raise anything, SystemExit too
        return ERROR
    return b""


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def play_tester(requests: int, answers: int, verdict: int) -> None:
    """Run the task's tests against the other side and say over `verdict` alone how that went."""
    task = json.load(sys.stdin.buffer)
    with os.fdopen(answers, "rb") as replies:
        if replies.readline(len(READY)) != READY:
            return
        _write_all(verdict, READY)
        said = _tested(task, requests, replies)
    _write_all(verdict, json.dumps(said).encode() + b"\n")


def _tested(task: dict[str, str], requests: int, replies: Any) -> dict[str, Any]:
    def candidate(*args: Any, **kwargs: Any) -> Any:
        try:
            _write_all(requests, repr((args, kwargs)).encode() + b"\n")
        except BrokenPipeError:
            raise CandidateFault("ended") from None
        return _read(replies.readline(MAX_ANSWER_BYTES))

    namespace: dict[str, Any] = {"__name__": "tester"}
    try:
        # The reference brings the functions that a prompt defines for its tests; the tested one is put in its place.
        exec(compile(task["reference"], "reference", "exec"), namespace)  # noqa: S102 - the task's own code
        namespace[task["entry_point"]] = candidate
        exec(compile(task["test"], "test", "exec"), namespace)  # noqa: S102 - the task's own code
        namespace["check"](candidate)
    except CandidateFault as fault:
        return {"passed": False, "why": fault.kind}
    except AssertionError:
        return {"passed": False, "why": "wrong"}
    except Exception as error:  # noqa: BLE001 - an answer of another type makes the test's own arithmetic fail
        return {"passed": False, "why": f"wrong: the test met {type(error).__name__}"}
    return {"passed": True, "why": "right"}


def _read(line: bytes) -> Any:
    if not line.endswith(b"\n"):
        raise CandidateFault("endless" if len(line) == MAX_ANSWER_BYTES else "ended")
    if not line.startswith(VALUE):
        raise CandidateFault("raised")
    try:
        return ast.literal_eval(line[1:].decode().strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise CandidateFault("unreadable") from None


def main(arguments: list[str]) -> None:
    """Limit first, then play the side that was asked for."""
    numbers, (side, first, second, third) = [int(value) for value in arguments[:5]], arguments[5:]
    limit(*numbers[:4])
    end_with(numbers[4])
    if side == "candidate":
        play_candidate(int(first), int(second), third)
    else:
        play_tester(int(first), int(second), int(third))


if __name__ == "__main__":
    main(sys.argv[1:])
