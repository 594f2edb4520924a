"""One child process of the runner: how it is started, known again and ended. Deciding when belongs to ops.runner.runner."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inference.pool.process import read_stat


@dataclass(frozen=True)
class ProcessSpec:
    """A process to keep running. `ready` is asked until it says yes; None means ready once started."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    cwd: Path
    ready: Callable[[], bool] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 5.0
    user: int | None = None
    group: int | None = None


@dataclass
class Child:
    """A spec and, while it runs, its process."""

    spec: ProcessSpec
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    restarts: int = 0
    started_at: float = 0.0
    restart_at: float = 0.0
    stopping: bool = field(default=False)

    def start(self) -> None:
        """Start the process in a session of its own, so that a terminal's Ctrl-C reaches only the runner."""
        spec = self.spec
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        groups: list[int] | None = None if spec.user is None else []
        with spec.log.open("ab") as log:
            self.process = subprocess.Popen(
                spec.argv, env=dict(spec.env), cwd=spec.cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, user=spec.user, group=spec.group, extra_groups=groups,
            )  # fmt: skip
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.process.pid if self.process and self.process.poll() is None else None

    @property
    def is_running(self) -> bool:
        """Whether its process is there, asked from another thread: nothing is waited for."""
        process = self.process
        stat = None if process is None or process.returncode is not None else read_stat(process.pid)
        return stat is not None and stat.state not in {"Z", "X"}

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, if it still runs."""
        if self.pid is not None:
            os.kill(self.pid, number)

    def end(self) -> None:
        """Ask the process to stop, wait its time, then end its whole group."""
        self.stopping = True
        if self.process is None:
            return
        self.signal(self.spec.stop_signal)
        try:
            self.process.wait(self.spec.stop_timeout_s)
        except subprocess.TimeoutExpired:
            end_group(self.process.pid)
            self.process.wait()
        end_group(self.process.pid)  # what it left behind in its own group


def end_group(pgid: int) -> None:
    """SIGKILL a process group; fine when it is gone."""
    try:
        os.killpg(pgid, signal.SIGKILL)
    except ProcessLookupError:
        return


def last_lines(path: Path, count: int = 20) -> str:
    """The end of a log file, for a message; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    except OSError:
        return ""
