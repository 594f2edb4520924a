"""The control plane's side of a training run: starts the trainer in a slot, reads its events, stops it.

The trainer ends with the process *and the thread* that started it: call `start` in the thread that then reads the
events. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finetune import files
from finetune.train import slot
from finetune.train.errors import SpecRefused, TrainerNotStarted
from finetune.train.events import event_of
from finetune.train.spec import TrainSpec, faults_of

MODULE = "finetune.train"
STOPPED = 143  # the trainer's exit status after SIGTERM: 128 + 15, as a shell would tell it
LAST_EVENTS = frozenset({"finished", "failed", "stopped"})


class Trainer:
    """One trainer process. Use it from one thread; `stop` may come from any."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None

    def start(self, slot_python: Path, spec: TrainSpec, log: Path, devices: Mapping[str, str] | None = None) -> None:
        """Start it; its messages for people are appended to `log`, which may lie outside the attempt's directory.

        `devices`: more variables, such as CUDA_VISIBLE_DEVICES.
        Raises: SpecRefused with every fault; TrainerNotStarted when the slot's Python can't be run.
        """
        spec.out.mkdir(parents=True, exist_ok=True)
        faults = faults_of(spec)
        if faults:
            raise SpecRefused(faults)
        path = spec.out / "spec.json"
        files.write_json(path, spec.to_json())
        home = spec.out / "home"
        home.mkdir(exist_ok=True)
        environment = slot.environment(slot_python, home, spec.threads) | dict(devices or {})
        self._log = log
        with log.open("ab") as errors:
            self._process = _spawn(slot.command(slot_python, MODULE, path), environment, spec.out, errors.fileno())

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._started().poll()

    def events(self) -> Iterator[dict[str, Any]]:
        """Its events until it has ended; the last one is always finished, failed or stopped.

        Read them all the time: a trainer whose pipe is full waits.
        """
        process = self._started()
        last = ""
        assert process.stdout is not None  # noqa: S101 - for mypy: it was opened as a pipe
        with process.stdout as lines:
            for line in lines:
                event = event_of(line)
                if event is not None:
                    last = event["event"]
                    yield event
        process.wait()
        if last not in LAST_EVENTS:
            yield self._unexpected_end(process.returncode)

    def stop(self, grace_s: float) -> None:
        """Ask it to write a checkpoint and end; SIGKILL after the grace period. Returns once it has ended."""
        process = self._started()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, to everything in its session. Returns once it has ended."""
        process = self._started()
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _unexpected_end(self, status: int) -> dict[str, Any]:
        if status in {STOPPED, -signal.SIGTERM}:  # before it could listen
            return {"event": "stopped", "step": None}
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        hint = "; the machine may be out of memory" if status == -signal.SIGKILL else ""
        return {"event": "failed", "code": "trainer_died", "message": f"the trainer {how}{hint}; see {self._log}"}

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise TrainerNotStarted("the trainer was not started")
        return self._process


def _spawn(argv: list[str], environment: dict[str, str], folder: Path, errors: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv, env=environment, cwd=folder, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    except OSError as error:
        raise TrainerNotStarted(f"{argv[0]} can't be run: {error}") from error
