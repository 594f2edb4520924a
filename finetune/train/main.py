"""The trainer's process: events out, SIGTERM in, every foreseen failure as an event and an exit status.

Exit status: 0 finished; 1 failed; 143 stopped after SIGTERM, a checkpoint written; 76 the parent was gone at the start. A
SIGTERM is obeyed at the next step's end: whoever sends it allows for one step, one checkpoint and the loading of the model.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from finetune.train.errors import OutOfMemory, TrainError
from finetune.train.events import EventWriter
from finetune.train.per_rank import plan_of
from finetune.train.ranks import MEETING, Ranks
from finetune.train.spec import read_spec

FAILED = 1
STOPPED = 143
_NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "cannot allocate memory")


def run(spec_path: Path) -> int:
    """Train as a specification says; the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    events = EventWriter()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    try:
        return _train(spec_path, events, stop)
    except TrainError as error:
        logging.exception("the run failed")
        events.write(event="failed", code=error.code, message=str(error))
    except Exception as error:  # the process's top: whatever a library raises must reach the job as an event
        logging.exception("the run failed")
        code = OutOfMemory.code if is_out_of_memory(error) else TrainError.code
        events.write(event="failed", code=code, message=_in_words(error))
    return FAILED


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a library ran out of memory: they say so with errors of many kinds."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY)


def _train(spec_path: Path, events: EventWriter, stop: threading.Event) -> int:
    spec = read_spec(spec_path)
    if spec.ranks > 1 and "RANK" not in os.environ:
        events.write(event="plan", **plan_of(spec))
        return Ranks(spec, spec_path, events.write, stop).wait()
    # these take seconds; a bad specification is told at once
    from finetune.train import world  # noqa: PLC0415
    from finetune.train.loop import Run, Stopped  # noqa: PLC0415

    here = world.join(spec.ranks, spec.device, spec.out / MEETING)
    if here.leads:
        events.keep(spec.out)
    tell = events.write if here.leads else _nothing
    training = Run(spec, tell, stop, here)
    try:
        training.go()
        status = 0
    except Stopped:
        tell(event="stopped", step=training.progress.step)
        status = STOPPED
    world.leave()
    return status


def _nothing(**_: Any) -> None:
    """What other ranks than the first tell."""


def _in_words(error: Exception) -> str:
    if is_out_of_memory(error):
        return "out of memory: use a smaller batch_size or max_length, or a device with more memory"
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first[:500]}"
