"""Starts an engine on this machine as a process that outlives the pool, and clears away what an ended one left.

The engine leads a session of its own, writes to a log file and never to a pipe, and runs without a network
(isolate.py). It waits behind a gate until its start is on record: a supervisor that dies in between leaves no engine
that nobody knows. Watching the engine is the keeper's.
"""

import contextlib
import os
import re
import shutil
import signal
import sys
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from inference.devices.info import DeviceInfo
from inference.engines import EngineKind, EngineSpec
from inference.pool import isolate
from inference.pool.errors import LaunchFailed
from inference.pool.process import read_stat
from inference.pool.settings import PoolSettings
from inference.pool.store import DesiredDeployment, Life, ReplicaRow

GATE_FD = 3  # the number the gate has in the new process
_RESET_SIGNALS = [signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@dataclass(frozen=True)
class Launched:
    """A process that waits behind its gate: `release` it once its life is on record, or `abandon` it."""

    life: Life
    gate: int

    def release(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died already; whoever watches it will find out
            os.write(self.gate, b"g")
        os.close(self.gate)

    def abandon(self) -> None:
        os.close(self.gate)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.life.pid, 0)


def clear_away(settings: PoolSettings, life_id: str) -> None:
    """Remove the socket, temporary files and home of an engine that has ended; its log stays."""
    settings.socket(life_id).unlink(missing_ok=True)
    shutil.rmtree(settings.scratch(life_id), ignore_errors=True)
    shutil.rmtree(settings.home(life_id), ignore_errors=True)


class Launcher(Protocol):
    """What the supervisor needs of one: to start an engine, and to tidy up after it."""

    def launch(self, deployment: DesiredDeployment, row: ReplicaRow, devices: tuple[DeviceInfo, ...]) -> Launched:
        """Raises: LaunchFailed, SpecRefused."""
        ...

    def clear_away(self, life: Life) -> None: ...


class LocalLauncher:
    """Engines as processes of this machine."""

    def __init__(self, settings: PoolSettings, kind: EngineKind) -> None:
        self._settings = settings
        self._kind = kind

    def launch(self, deployment: DesiredDeployment, row: ReplicaRow, devices: tuple[DeviceInfo, ...]) -> Launched:
        """Raises: LaunchFailed when files it needs are missing; SpecRefused when the engine can't run like this."""
        _check_files(deployment)
        life_id = str(uuid.uuid4())
        log_name = f"{plain(deployment.name)}-{row.index}"
        spec = self._spec(deployment, devices, life_id)
        argv, environment = self._kind.command(spec), self._kind.environment(spec)
        log = self._settings.log(log_name, life_id)
        self._make_folders(spec, log)
        prune_logs(self._settings, log_name)
        wrapper = [sys.executable, "-I", str(Path(isolate.__file__)), "--gate", str(GATE_FD), "--", *argv]
        return spawn(wrapper, environment, Life(life_id, 0, 0, spec.socket, log, time.time(), deployment.way))

    def clear_away(self, life: Life) -> None:
        """Remove an ended engine's socket, temporary files and home; its log stays."""
        clear_away(self._settings, life.id)

    def _spec(self, deployment: DesiredDeployment, devices: tuple[DeviceInfo, ...], life_id: str) -> EngineSpec:
        return EngineSpec(
            slot_python=deployment.slot_python.absolute(),  # not resolved: a venv's python is a link
            model=deployment.model,
            model_path=deployment.model_path.resolve(),
            max_model_len=deployment.max_model_len,
            flags=deployment.flags,
            devices=devices,
            socket=self._settings.socket(life_id),
            home=self._settings.home(life_id),
            cache=self._settings.cache(deployment.id),
            scratch=self._settings.scratch(life_id),
            shutdown_timeout_s=max(1, int(self._settings.grace_s) - 2),
            sleeps=deployment.lending is not None,
            adapters=self._settings.adapters(life_id),
        )

    def _make_folders(self, spec: EngineSpec, log: Path) -> None:
        for folder in (spec.socket.parent, spec.scratch, spec.home, spec.cache, log.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def prune_logs(settings: PoolSettings, log_name: str) -> None:
    """Make room for one more log of this name."""
    logs = settings.log(log_name, "*").parent.glob(f"engine-{log_name}-????????.log")
    newest_first = sorted(logs, key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[settings.logs_kept - 1 :]:
        path.unlink(missing_ok=True)


def _check_files(deployment: DesiredDeployment) -> None:
    if not (deployment.model_path / "config.json").is_file():
        raise LaunchFailed(f"no model at {deployment.model_path}: it has no config.json")
    if not os.access(deployment.slot_python, os.X_OK):
        raise LaunchFailed(f"no engine slot: {deployment.slot_python} can't be run")


def spawn(argv: list[str], environment: dict[str, str], life: Life) -> Launched:
    """Start a program that waits at its gate, descriptor 3, for a life that lacks its process only.

    Raises: LaunchFailed.
    """
    reading, writing = os.pipe()
    try:
        # posix_spawn and not Popen: nobody here is the engine's parent for longer than the pool lives
        pid = os.posix_spawn(
            sys.executable,
            argv,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, reading, GATE_FD),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(life.log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=_RESET_SIGNALS,
        )
    except OSError as error:
        os.close(writing)
        raise LaunchFailed(f"the engine's process could not be started: {error}") from error
    finally:
        os.close(reading)
    stat = read_stat(pid)
    if stat is None:  # can't be: it waits behind the gate, and is ours to reap
        raise LaunchFailed(f"the engine's process {pid} vanished")
    return Launched(replace(life, pid=pid, pid_started=stat.started), writing)


def plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:60]
