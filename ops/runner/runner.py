"""Keeps a list of processes running: starts them in order, restarts what dies with back-off, ends them in reverse.

Knows no process by name. One runner per run directory, enforced with a lock; the children it started are written down, so
that the next runner, or `stop`, can end what a killed runner left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from inference.pool.process import is_alive, read_stat
from ops.runner.errors import AlreadyRunning, RunnerError
from ops.runner.processes import Child, ProcessSpec, end_group, last_lines

BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_S = 30.0
LEFTOVER_STOP_S = 8.0


def backoff_s(failures: int) -> float:
    """How long to wait before the next start after so many failures in a row."""
    return BACKOFF_S[min(failures, len(BACKOFF_S)) - 1] if failures > 0 else 0.0


class Runner:
    """The children, in start order."""

    def __init__(self, run_dir: Path, report: Callable[[str], None]) -> None:
        self.run_dir = run_dir
        self.report = report
        self.children: list[Child] = []
        self.stop_requested = False
        self.may_be_interrupted = False
        self._lock = self._acquire()

    def _acquire(self) -> int:
        descriptor = os.open(self.run_dir / "runner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunning(
                "the appliance is already running; `coderack status` shows it, `make stop` ends it"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(_identity(os.getpid())).encode())
        return descriptor

    def start(self, spec: ProcessSpec, ready_timeout_s: float = 60.0) -> None:
        """Start one process and wait until it is ready.

        Raises: RunnerError with the log's last lines when it ends or never gets ready.
        """
        child = Child(spec)
        self.children.append(child)
        child.start()
        self._remember()
        deadline = time.monotonic() + ready_timeout_s
        while spec.ready is not None and not spec.ready():
            if child.pid is None:
                raise RunnerError(f"{spec.name} ended at start; its log {spec.log} ends with:\n{last_lines(spec.log)}")
            if time.monotonic() > deadline or self.stop_requested:
                raise RunnerError(f"{spec.name} was not ready in {ready_timeout_s:.0f} s; see {spec.log}")
            time.sleep(0.1)

    def watch(self) -> None:
        """Restart what died; call it every fraction of a second."""
        now = time.monotonic()
        for child in self.children:
            if child.pid is not None:
                if child.failures and now - child.started_at > STEADY_S:
                    child.failures = 0
                continue
            if child.process is not None:
                status = child.process.returncode
                end_group(child.process.pid)
                child.failures += 1
                child.restart_at = now + backoff_s(child.failures)
                child.process = None
                self.report(f"{child.spec.name} ended with {status}; starting it again (log: {child.spec.log})")
            if now >= child.restart_at:
                self._start_again(child)

    def _start_again(self, child: Child) -> None:
        try:
            child.start()
        except OSError as error:  # no process, no memory, no disk for its log: tried again later
            child.failures += 1
            child.restart_at = time.monotonic() + backoff_s(child.failures)
            self.report(f"{child.spec.name} can't be started: {error}")
            return
        child.restarts += 1
        self._remember()

    def request_stop(self) -> None:
        """Ask whoever waits or watches to come to an end; safe in a signal handler."""
        self.stop_requested = True

    def ask_to_stop(self, name: str) -> None:
        """Send a child its stop signal and don't wait."""
        for child in [c for c in self.children if c.spec.name == name]:
            child.signal(child.spec.stop_signal)

    def wait_for_end(self, name: str, timeout_s: float) -> bool:
        """Wait for a child that ends by itself; False when it still runs after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while any(c.pid for c in self.children if c.spec.name == name):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def stop_all(self) -> None:
        """End every child, last started first."""
        for child in reversed(self.children):
            child.end()
        self.children.clear()
        self._remember()

    def close(self) -> None:
        """Give the lock back."""
        (self.run_dir / "processes.json").unlink(missing_ok=True)
        os.close(self._lock)

    def _remember(self) -> None:
        rows = [{"name": c.spec.name, **_identity(c.pid)} for c in self.children if c.pid]
        temporary = self.run_dir / f"processes.json.{os.getpid()}.tmp"
        try:
            temporary.write_text(json.dumps(rows))
            temporary.rename(self.run_dir / "processes.json")
        except OSError as error:  # a full disk must not end what runs
            self.report(f"the list of processes can't be written: {error}")


def _identity(pid: int) -> dict[str, int]:
    stat = read_stat(pid)
    return {"pid": pid, "started": stat.started if stat else 0}


def runner_pid(run_dir: Path) -> int | None:
    """The living runner of this run directory, if there is one."""
    with contextlib.suppress(OSError, ValueError):
        row = json.loads((run_dir / "runner.lock").read_text())
        if is_alive(row["pid"], row["started"]):
            return int(row["pid"])
    return None


def end_leftovers(run_dir: Path) -> list[str]:
    """End what a killed runner left behind, last started first; returns their names."""
    try:
        rows = json.loads((run_dir / "processes.json").read_text())
    except (OSError, ValueError):
        return []
    alive = [row for row in rows if is_alive(row["pid"], row["started"])]
    for row in reversed(alive):
        _end_leftover(row["pid"], row["started"], signal.SIGINT if row["name"] == "postgres" else signal.SIGTERM)
    return [row["name"] for row in alive]


def _end_leftover(pid: int, started: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    deadline = time.monotonic() + LEFTOVER_STOP_S
    while is_alive(pid, started) and time.monotonic() < deadline:
        time.sleep(0.05)
    end_group(pid)
