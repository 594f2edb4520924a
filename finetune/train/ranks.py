"""Several processes as one: starts a process for each rank, hands on what rank 0 tells, and ends all when one dies.

Standard library only: it waits in memory for as long as they train. The ranks' environment is torchrun's (RANK, WORLD_SIZE,
LOCAL_RANK), so that torchrun can start them instead; they meet through a file in the attempt's directory.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.train import slot
from finetune.train.errors import TrainError
from finetune.train.events import event_of
from finetune.train.spec import TrainSpec

MODULE = "finetune.train"
MEETING = ".ranks"
STOPPED = 143
FAILED = 1
DIED = "trainer_died"
# After one rank has failed the others fail too, for want of it: how long they are waited for, since one of them may know why.
LAST_WORDS_S = 5.0
POLL_S = 0.2
Tell = Callable[..., None]


@dataclass
class Rank:
    """One process. `failed`: what it told of its failure; `status`: None while it runs."""

    number: int
    process: subprocess.Popen[bytes]
    failed: dict[str, Any] | None = None
    status: int | None = None
    ended_by_us: bool = False

    @property
    def went_wrong(self) -> bool:
        """Whether it ended, and neither because it was done nor because it was asked to."""
        return self.status not in (None, 0, STOPPED)


class Ranks:
    """All ranks of one run."""

    def __init__(self, spec: TrainSpec, spec_path: Path, tell: Tell, stop: threading.Event) -> None:
        """Start them; they end with this process."""
        (spec.out / MEETING).unlink(missing_ok=True)
        self._tell, self._stop, self._asked = tell, stop, False
        self._told: queue.SimpleQueue[tuple[Rank, dict[str, Any] | None]] = queue.SimpleQueue()
        self._give_up_at: float | None = None
        self.all = [_start(spec, spec_path, number) for number in range(spec.ranks)]
        for rank in self.all:
            threading.Thread(target=self._listen, args=(rank,), daemon=True).start()

    def wait(self) -> int:
        """Until all have ended; the exit status of the whole."""
        try:
            while any(rank.status is None for rank in self.all):
                self._pass_the_stop_on()
                self._take_in()
                self._end_the_others()
        finally:
            self._kill()
        if self._stop.is_set() and all(rank.status in (STOPPED, -signal.SIGTERM) for rank in self._first_ended()):
            return STOPPED
        wrong = [rank for rank in self.all if rank.went_wrong]
        if wrong:
            self._tell(**cause_of(wrong, len(self.all)))
            return FAILED
        return 0

    def _first_ended(self) -> list[Rank]:
        return [rank for rank in self.all if not rank.ended_by_us]

    def _listen(self, rank: Rank) -> None:
        assert rank.process.stdout is not None  # noqa: S101 - for mypy: it was opened as a pipe
        with rank.process.stdout as lines:
            for line in lines:
                event = event_of(line)
                if event is not None:
                    self._told.put((rank, event))
        self._told.put((rank, None))

    def _take_in(self) -> None:
        try:
            rank, event = self._told.get(timeout=POLL_S)
        except queue.Empty:
            return
        if event is None:
            rank.status = rank.process.wait()
        elif event["event"] == "failed":
            rank.failed = rank.failed or event
        elif rank.number == 0:
            self._tell(**event)

    def _pass_the_stop_on(self) -> None:
        if self._stop.is_set() and not self._asked:
            self._asked = True
            for rank in self.all:
                if rank.process.poll() is None:
                    rank.process.send_signal(signal.SIGTERM)

    def _end_the_others(self) -> None:
        wrong = [rank for rank in self.all if rank.went_wrong]
        if not wrong:
            return
        if self._give_up_at is None:
            self._give_up_at = time.monotonic() + LAST_WORDS_S
        if any(_is_cause(rank) for rank in wrong) or time.monotonic() >= self._give_up_at:
            self._kill()

    def _kill(self) -> None:
        for rank in self.all:
            if rank.process.poll() is None:
                rank.ended_by_us = True
                rank.process.kill()


def cause_of(wrong: list[Rank], ranks: int) -> dict[str, Any]:
    """The last event of a run in which ranks failed: of the one that knows why, before those that missed it."""
    first = next((rank for rank in wrong if _is_cause(rank)), None)
    first = first or next((rank for rank in wrong if rank.failed and not rank.ended_by_us), wrong[0])
    if first.failed is not None:
        return {**first.failed, "message": f"rank {first.number} of {ranks}: {first.failed['message']}"}
    status = first.status or 0
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
    hint = "; the machine may be out of memory" if status == -signal.SIGKILL else ""
    return {"event": "failed", "code": DIED, "message": f"rank {first.number} of {ranks} {how}{hint}"}


def _is_cause(rank: Rank) -> bool:
    """Whether it failed by itself, and not because another did: by a signal, or with an error that has a name of its own."""
    if rank.ended_by_us or rank.status is None:
        return False
    if rank.failed is None:
        return rank.status < 0
    return bool(rank.failed["code"] != TrainError.code)


def _start(spec: TrainSpec, spec_path: Path, number: int) -> Rank:
    argv = slot.command(Path(sys.executable), MODULE, spec_path)
    which = {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(spec.ranks)}
    # all ranks are on this machine: nothing listens where others could reach it
    environment = {**os.environ, **which, "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    return Rank(number, process)
