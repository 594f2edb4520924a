"""How one engine is to be ended or put to sleep, and whether it has nothing left to do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from inference.pool.adapter_loader import AdapterLoader
from inference.pool.checkup import Checkup
from inference.pool.log_tail import last_words
from inference.pool.settings import PoolSettings
from inference.pool.states import ReplicaState
from inference.pool.store import ReplicaRow


@dataclass(frozen=True)
class Ending:
    """How an engine is to be ended. Times are monotonic; `failed` when it is ended because it does not work.

    `sleep`: it need not end if it can sleep.
    """

    reason: str
    drained_by: float
    grace_s: float
    failed: bool = False
    sleep: bool = False


def sooner(now: Ending | None, reason: str, drain_s: float, grace_s: float, sleep: bool) -> Ending | None:
    """What holds once an engine is to be ended like this, too; None when that changes nothing."""
    drained_by = time.monotonic() + drain_s
    if now is None:
        return Ending(reason, drained_by, grace_s, sleep=sleep)
    if drained_by < now.drained_by or grace_s < now.grace_s or (now.sleep and not sleep):
        return Ending(reason, drained_by, grace_s, now.failed, sleep and now.sleep)
    return None


def found(row: ReplicaRow, settings: PoolSettings) -> Ending | None:
    """A replica that was being vacated for a fine-tune when its keeper was lost: its requests keep their time."""
    if row.state is not ReplicaState.DRAINING or row.loan is None:
        return None
    return Ending(row.reason, time.monotonic() + settings.patient_drain_s, settings.grace_s)


def reason_of_death(ending: Ending | None, exit_text: str, log: Path) -> str:
    """Why an engine is no more: it was ended for a reason, or its log says it."""
    if ending is not None:
        return ending.reason
    return f"the engine {exit_text}\n{last_words(log)}".strip()


class Quiet:
    """Tells when an engine that gets nothing new has nothing to do."""

    def __init__(self, checkup: Checkup, adapters: AdapterLoader) -> None:
        self._checkup = checkup
        self._adapters = adapters
        self._last: tuple[int, int] | None = None

    def is_quiet(self) -> bool:
        """Nothing to do in two readings in a row: a request may have been on its way at the first."""
        read = self._checkup.read_counters()
        counters = self._checkup.gauge.counters
        at_work = self._checkup.canary_is_out() or self._adapters.is_at_work
        busy = at_work or not read or counters is None or counters.running or counters.waiting
        now = None if busy or counters is None else (counters.prompt_tokens, counters.generation_tokens)
        before, self._last = self._last, now
        return now is not None and now == before
