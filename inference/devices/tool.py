"""Runs a vendor's command line: bounded in time and in output, and never twice while an earlier run hangs.

A command of a driver that is stuck may sleep in the kernel where no signal ends it. It is left there, and as long as it
is, no other one is started.
"""

import os
import select
import signal
import subprocess
import time
from pathlib import Path

from inference.devices.errors import ToolFailed

MAX_OUTPUT_BYTES = 1 << 20
_REAP_S = 1.0  # how long a killed process may take to go
_TOLD = 300  # characters of an error's output that are shown


class Tool:
    def __init__(self, path: Path, libraries: str = "") -> None:
        """`libraries`: folders that the command finds its libraries in, beside those of our own environment."""
        self._path = path
        self._environment = {**os.environ, "LC_ALL": "C"}
        if libraries:
            inherited = os.environ.get("LD_LIBRARY_PATH")
            self._environment["LD_LIBRARY_PATH"] = f"{inherited}:{libraries}" if inherited else libraries
        self._stuck: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str, timeout_s: float = 10.0) -> str:
        """What it printed. Raises: ToolFailed."""
        told = " ".join([self._path.name, *arguments])
        if self._stuck is not None and self._stuck.poll() is None:
            raise ToolFailed(f"{told}: not started, because an earlier run (process {self._stuck.pid}) still hangs")
        self._stuck = None
        try:
            process = subprocess.Popen(
                [str(self._path), *arguments], env=self._environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ToolFailed(f"{told}: {error}") from error
        try:
            output = _read(process, told, time.monotonic() + timeout_s, timeout_s)
        finally:
            self._end(process)
        if process.returncode:
            raise ToolFailed(f"{told} ended with status {process.returncode}: {_short(output)}")
        return output.decode(errors="replace")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        try:
            process.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            self._stuck = process
        if process.stdout is not None:
            process.stdout.close()


def _read(process: subprocess.Popen[bytes], told: str, deadline: float, timeout_s: float) -> bytes:
    if process.stdout is None:  # can't be: it was asked for
        raise ToolFailed(f"{told}: no output")
    descriptor, size = process.stdout.fileno(), 0
    parts: list[bytes] = []
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
            raise ToolFailed(f"{told} did not answer within {timeout_s:g} s and was killed")
        part = os.read(descriptor, 65536)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > MAX_OUTPUT_BYTES:
            raise ToolFailed(f"{told} printed more than {MAX_OUTPUT_BYTES} bytes and was killed")
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise ToolFailed(f"{told} did not end within {timeout_s:g} s and was killed") from None
    return b"".join(parts)


def _short(output: bytes) -> str:
    text = " ".join(output.decode(errors="replace").split())
    return text[:_TOLD] or "it said nothing"
