"""The C part of the benchmark, compiled when it is needed: an engine on its sockets, and the load on a contender."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

NATIVE = Path(__file__).parent / "native"

Answer = dict[str, Any]


class Overrun(Exception):
    """An answer was wrong or missing, so that the figures would mean nothing."""


def compiler() -> str | None:
    """A C compiler, where there is one."""
    return shutil.which("cc") or shutil.which("gcc")


def build(folder: Path) -> Path:
    """The program, compiled into a folder."""
    program = folder / "harness"
    command = [compiler() or "cc", "-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11", "-o", str(program)]
    subprocess.run([*command, *map(str, sorted(NATIVE.glob("*.c")))], check=True)
    return program


class Harness:
    """The running program."""

    def __init__(self, program: Path, listen: list[str]) -> None:
        self._process = subprocess.Popen(
            [str(program), *listen], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._read()

    def run(self, while_steady: Callable[[], None] | None = None, **order: Any) -> Answer:
        """Put one load on an address; `while_steady` is called once the measured time begins.

        Raises: Overrun.
        """
        assert self._process.stdin is not None
        line = " ".join(f"{name}={value}" for name, value in order.items())
        self._process.stdin.write(line + "\n")
        answer = self._read()
        if answer.get("steady"):
            if while_steady is not None:
                while_steady()
            answer = self._read()
        if "fault" in answer:
            raise Overrun(f"{answer['fault']}: {line}")
        return answer

    def _read(self) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Overrun(f"the harness ended with status {self._process.wait()}")
        answer: Answer = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)


def raise_file_limit() -> None:
    """As many open files as the system allows, for the contenders too: each stream is two sockets."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cores() -> tuple[int, int]:
    """The harness' core and the contenders'."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]
