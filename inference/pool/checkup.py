"""One engine's health: its counters read and kept, its canaries sent and heard, the verdict whether it is hung.

What follows from the verdict is the keeper's. Not for use by several threads at once, `gauge.load` and `gauge.sample` apart.
"""

import logging
import time
from dataclasses import dataclass

from inference.engines import EngineKind
from inference.engines.errors import EngineError
from inference.pool.canary import Canary, Journal
from inference.pool.effort import Effort
from inference.pool.errors import EngineUnreachable
from inference.pool.gauge import Gauge
from inference.pool.kept_client import KeptClient
from inference.pool.pulse import Pulse
from inference.pool.settings import PoolSettings
from inference.pool.store import Counters, Life, Store

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 2.0
_LOOK_S = 0.25  # how often a canary on its way is looked after
_RETRY_S = 1.0
_SLOW_S = 1.0  # a canary that waits for longer has its engine's processes looked at
_SAVE_UNCHANGED_S = 10.0


@dataclass(frozen=True)
class Patient:
    """Whose health it is; without a model's name (its deployment is gone) no canaries are sent.

    `is_on_processors`: it computes on this machine's processors, so that being at work is a sign of life.
    """

    replica_id: str
    life: Life
    model: str | None
    is_on_processors: bool = False


class Checkup:
    def __init__(
        self, patient: Patient, kind: EngineKind, store: Store, journal: Journal, settings: PoolSettings
    ) -> None:
        self._patient = patient
        self._kind = kind
        self._store = store
        self._journal = journal
        self._settings = settings
        self._client = KeptClient(patient.life.socket)
        self._pulse = Pulse(settings.canary_timeout_s, settings.at_work_timeout_s if patient.is_on_processors else 0.0)
        self._effort = Effort(patient.life.pid, patient.life.pid_started) if patient.is_on_processors else None
        self._canary: Canary | None = None
        self._next_canary = 0.0
        self._next_reading = 0.0
        self._saved: Counters | None = None
        self.gauge = Gauge(kind, self._client, 3 * settings.scrape_s)

    def answers(self) -> bool:
        """Whether the engine's server is up at all."""
        try:
            return self._client.get(self._kind.HEALTH_PATH, CALL_TIMEOUT_S).status == 200
        except EngineUnreachable:
            return False

    def read_counters(self) -> bool:
        """Read the counters and keep them; whether that worked."""
        self._next_reading = time.monotonic() + self._settings.scrape_s
        try:
            counters = self.gauge.read(CALL_TIMEOUT_S)
        except (EngineUnreachable, EngineError) as error:
            log.warning("replica %s: counters not read: %s", self._patient.replica_id, error)
            return False
        self._pulse.counters_read(counters, time.monotonic())
        if self._saved is None or _is_news(counters, self._saved):
            self._store.save_counters(self._patient.life.id, counters)
            self._saved = counters
        return True

    def look(self) -> float:
        """Do what is due of readings and canaries; the seconds until something is due again."""
        if time.monotonic() >= self._next_reading:
            self.read_counters()
        now = time.monotonic()
        if self._canary is None and self._patient.model is not None and now >= self._next_canary:
            self.send_canary(self._settings.canary_timeout_s)
        elif self._canary is not None and self._canary.is_done:
            failure = self.canary_result()
            self._next_canary = now + (self._settings.canary_period_s if failure is None else _RETRY_S)
        elif self._canary is not None and now - self._canary.sent_at >= self._settings.canary_timeout_s:
            self._canary.abort()  # slow; if the engine works, there is no need to queue behind its tenants
        self._look_at_effort()
        next_look = self._next_canary if self._canary is None else now + _LOOK_S
        return max(0.05, min(self._next_reading, next_look) - time.monotonic())

    def _look_at_effort(self) -> None:
        now = time.monotonic()
        if self._effort is None:
            return
        if self._pulse.silent_s(now) < _SLOW_S:
            self._effort.forget()
        elif self._effort.is_at_work(now):
            self._pulse.at_work(now)

    def silent_s(self) -> float:
        """For how long a canary has waited while the counters stood still."""
        return self._pulse.silent_s(time.monotonic())

    def is_hung(self) -> bool:
        return self._pulse.is_hung(time.monotonic())

    def send_canary(self, timeout_s: float) -> None:
        if self._patient.model is not None:
            self._canary = Canary(self._kind, self._client, self._patient.model, timeout_s)
            self._pulse.canary_sent(self._canary.sent_at)
            self._canary.send(self._journal, self._patient.replica_id, self._patient.life.id)

    def canary_is_out(self) -> bool:
        return self._canary is not None and not self._canary.is_done

    def canary_result(self) -> str | None:
        """Take the ended canary: None after a success, else what went wrong."""
        canary, self._canary = self._canary, None
        failure = canary.failure if canary is not None else "none was sent"
        if failure is None:
            self._pulse.canary_succeeded()
        else:
            log.warning("replica %s: a canary failed: %s", self._patient.replica_id, failure)
        return failure

    def leave(self, timeout_s: float) -> None:
        """Let a canary on its way get its record into the journal, and hang up."""
        if self._canary is not None:
            self._canary.join(timeout_s)
        self._client.close()


def _is_news(new: Counters, saved: Counters) -> bool:
    """Whether a reading is worth a write: something changed, or the saved one gets old."""
    return _values(new) != _values(saved) or new.at - saved.at >= _SAVE_UNCHANGED_S


def _values(counters: Counters) -> tuple[float, ...]:
    return (
        counters.prompt_tokens,
        counters.generation_tokens,
        counters.running,
        counters.waiting,
        counters.kv_usage,
    )
