"""Watches over one engine for one life: up to ready, through its work, down to its end.

One thread per engine, so that an engine that answers slowly delays nobody else. The thread decides only what concerns
this engine; which engines there should be is the plan's business. Whatever the store refuses is tried again: while the
database is away the engine goes on serving. Leaving (the supervisor ends) touches nothing; a new keeper adopts.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from inference.engines import EngineKind
from inference.engines.errors import EngineError
from inference.pool.backoff import delay_s
from inference.pool.canary import Canary, Journal
from inference.pool.engine_client import EngineClient
from inference.pool.errors import EngineUnreachable, IllegalMove
from inference.pool.gauge import Gauge
from inference.pool.log_tail import last_words
from inference.pool.process import ExitWatch, signal_session
from inference.pool.pulse import Pulse
from inference.pool.settings import PoolSettings
from inference.pool.states import ReplicaState, may_move
from inference.pool.store import Counters, Life, ReplicaRow, Store

log = logging.getLogger(__name__)

_S = ReplicaState
_CALL_TIMEOUT_S = 2.0
_BUSY_PAUSE_S = 0.25
_RETRY_PAUSE_S = 1.0
_SAVE_UNCHANGED_S = 10.0


@dataclass(frozen=True)
class Ending:
    """How an engine is to be ended. Times are monotonic; `failed` when it is ended because it does not work."""

    reason: str
    drained_by: float
    grace_s: float
    failed: bool = False


@dataclass(frozen=True)
class Surroundings:
    """What every keeper of a pool shares."""

    store: Store
    journal: Journal
    settings: PoolSettings
    kind: EngineKind
    clear_away: Callable[[Life], None]


class Keeper:
    """`model` is the public name canaries ask for; without one (its deployment is gone) none are sent."""

    def __init__(self, row: ReplicaRow, life: Life, model: str | None, around: Surroundings) -> None:
        self.replica_id = row.id
        self.deployment_id = row.deployment_id
        self.life = life
        self.is_done = False
        self._model = model
        self._around = around
        self._store = around.store
        self._settings = around.settings
        self._state = row.state
        self._restarts = row.restarts
        self._client = EngineClient(life.socket)
        self._watch = ExitWatch(life.pid, life.pid_started)
        self.gauge = Gauge(around.kind, self._client, 3 * self._settings.scrape_s)
        self._pulse = Pulse(self._settings.canary_timeout_s)
        self._canary: Canary | None = None
        self._next_canary = 0.0
        self._next_scrape = 0.0
        self._saved: Counters | None = None
        self._ending: Ending | None = None
        self._quiet_readings = 0
        self._kill_at: float | None = None
        self._killed = False
        self._exit_text: str | None = None
        self._backoff: tuple[int, float] | None = None
        self._leaving = False
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"keeper-{life.id[:8]}", daemon=True)
        self._steps: dict[ReplicaState, Callable[[], float]] = {
            _S.STARTING: self._while_starting,
            _S.LOADING: self._while_loading,
            _S.WARMING: self._while_warming,
            _S.READY: self._while_ready,
        }

    def start(self) -> None:
        self._thread.start()

    def end(self, reason: str, drain_s: float, grace_s: float) -> None:
        """Drain and end the engine; asked again, the sooner deadline holds."""
        drained_by = time.monotonic() + drain_s
        if self._ending is None or drained_by < self._ending.drained_by or grace_s < self._ending.grace_s:
            failed = self._ending is not None and self._ending.failed
            self._ending = Ending(reason, drained_by, grace_s, failed)
            self._wake()

    def leave(self) -> None:
        """Stop watching; the engine goes on."""
        self._leaving = True
        self._wake()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _wake(self) -> None:
        with self._closing:
            if self._thread.is_alive():
                self._watch.wake()

    def _run(self) -> None:
        exited = False
        pause_s = 0.0
        while not self.is_done and not self._leaving:
            try:
                exited = self._watch.wait(pause_s) or exited
                pause_s = self._bury() if exited else self._step()
            except Exception:
                # The top of this engine's loop. The store may be away, anything else is a fault of ours: in both cases
                # the engine serves on, and the same step is tried again.
                log.exception("replica %s: a step failed, it will be tried again", self.replica_id)
                pause_s = _RETRY_PAUSE_S
                time.sleep(_BUSY_PAUSE_S if exited else 0)
        if self._canary is not None:
            self._canary.join(_RETRY_PAUSE_S)  # its tokens belong in the journal
        with self._closing:
            self._watch.close()

    def _step(self) -> float:
        """Do what is due; the seconds until the next look."""
        if self._ending is None and self._state not in self._steps:
            self.end(f"found {self._state} with an engine still running", self._settings.drain_s, self._settings.grace_s)
        return self._steps[self._state]() if self._ending is None else self._wind_down(self._ending)

    # On the way up

    def _while_starting(self) -> float:
        self._move(_S.LOADING)
        return 0.0

    def _while_loading(self) -> float:
        if self._answers_health():
            self._move(_S.WARMING)
            return 0.0
        self._give_up_after(self._settings.load_timeout_s, "it did not come up")
        return 2 * _BUSY_PAUSE_S

    def _while_warming(self) -> float:
        if self._canary is None:
            self._send_canary(self._settings.warm_timeout_s)
        elif self._canary.is_done:
            failure, self._canary = self._canary.failure, None
            if failure is None:
                return self._become_ready()
            log.warning("replica %s: its first token failed: %s", self.replica_id, failure)
            self._give_up_after(self._settings.load_timeout_s, f"no first token: {failure}")
            return _RETRY_PAUSE_S
        return _BUSY_PAUSE_S

    def _become_ready(self) -> float:
        self._scrape()
        self._store.set_backoff(self.replica_id, 0, None)
        self._restarts = 0
        self._move(_S.READY)
        self._next_canary = time.monotonic() + self._settings.canary_period_s
        return self._settings.scrape_s

    def _answers_health(self) -> bool:
        try:
            return self._client.get(self._around.kind.HEALTH_PATH, _CALL_TIMEOUT_S).status == 200
        except EngineUnreachable:
            return False

    def _give_up_after(self, limit_s: float, what: str) -> None:
        if time.time() - self.life.started_at > limit_s:
            self._fail(f"{what} within {limit_s:.0f} s")

    # At work

    def _while_ready(self) -> float:
        now = time.monotonic()
        if now >= self._next_scrape:
            self._scrape()
        self._tend_canary(now)
        if self._pulse.is_hung(time.monotonic()):
            if self._canary is not None:
                self._canary.abort()
            self._fail(f"hung: no token for {self._settings.canary_timeout_s:.0f} s, and its counters stand still")
            return 0.0
        until_next = min(self._next_scrape, self._next_canary if self._canary is None else now + _BUSY_PAUSE_S)
        return max(0.05, until_next - time.monotonic())

    def _tend_canary(self, now: float) -> None:
        if self._canary is None:
            if self._model is not None and now >= self._next_canary:
                self._send_canary(self._settings.canary_timeout_s)
                self._pulse.canary_sent(now)
        elif self._canary.is_done:
            failure, self._canary = self._canary.failure, None
            if failure is None:
                self._pulse.canary_succeeded()
            else:
                log.warning("replica %s: a canary failed: %s", self.replica_id, failure)
            self._next_canary = now + (self._settings.canary_period_s if failure is None else _RETRY_PAUSE_S)
        elif now - self._canary.sent_at >= self._settings.canary_timeout_s and not self._pulse.is_hung(now):
            self._canary.abort()  # slow, but the engine works: no need to queue behind its tenants

    def _send_canary(self, timeout_s: float) -> None:
        if self._model is not None:
            self._canary = Canary(self._around.kind, self._client, self._model, timeout_s)
            self._canary.send(self._around.journal, self.replica_id, self.life)

    def _scrape(self) -> bool:
        """Read the counters and keep them; whether that worked."""
        self._next_scrape = time.monotonic() + self._settings.scrape_s
        try:
            counters = self.gauge.read(_CALL_TIMEOUT_S)
        except (EngineUnreachable, EngineError) as error:
            log.warning("replica %s: counters not read: %s", self.replica_id, error)
            return False
        self._pulse.counters_read(counters, time.monotonic())
        if self._saved is None or _differ(counters, self._saved):
            self._store.save_counters(self.life.id, counters)
            self._saved = counters
        return True

    def _fail(self, reason: str) -> None:
        """End an engine that does not work: what it has accepted can't be waited for."""
        log.error("replica %s: %s", self.replica_id, reason)
        self._ending = Ending(reason, time.monotonic(), min(self._settings.grace_s, self._settings.stop_grace_s), True)

    # On the way down

    def _wind_down(self, ending: Ending) -> float:
        if self._kill_at is not None:
            return self._insist(self._kill_at)
        if self._state is _S.READY:
            self._move(_S.DRAINING, ending.reason)
        # two quiet readings in a row: a request may have been on its way between the first and the gateway's news
        if self._state is _S.DRAINING and not ending.failed and time.monotonic() < ending.drained_by:
            before = self.gauge.counters
            quiet = self._scrape() and _is_idle(self.gauge.counters) and not self._canary_is_out()
            same = before is not None and self.gauge.counters is not None and not _moved(before, self.gauge.counters)
            self._quiet_readings = self._quiet_readings + 1 if quiet and same else 0
            if self._quiet_readings < 2:
                return _BUSY_PAUSE_S
        return self._terminate(ending)

    def _canary_is_out(self) -> bool:
        return self._canary is not None and not self._canary.is_done

    def _terminate(self, ending: Ending) -> float:
        if self._state is _S.DRAINING:
            self._scrape()  # the last reading of this life: its counters go with it
        self._kill_at = time.monotonic() + ending.grace_s
        signal_session(self.life.pid, self.life.pid_started, signal.SIGTERM, leader_only=True)
        return _BUSY_PAUSE_S

    def _insist(self, kill_at: float) -> float:
        if self._ending is not None:
            kill_at = self._kill_at = min(kill_at, time.monotonic() + self._ending.grace_s)
        left_s = kill_at - time.monotonic()
        if left_s > 0:
            return left_s
        if not self._killed:
            log.warning("replica %s: it did not end in time and is killed", self.replica_id)
            self._killed = True
        signal_session(self.life.pid, self.life.pid_started, signal.SIGKILL)
        return _BUSY_PAUSE_S

    def _bury(self) -> float:
        """The process has ended: end its session, put it on record. Each call may be repeated."""
        if self._exit_text is None:
            self._exit_text = self._watch.exit_text()
            signal_session(self.life.pid, self.life.pid_started, signal.SIGKILL)
        ending = self._ending
        reason = ending.reason if ending else f"the engine {self._exit_text}\n{last_words(self.life.log)}".strip()
        if ending is None or ending.failed:
            if self._backoff is None:
                self._backoff = (self._restarts + 1, time.time() + delay_s(self._restarts + 1))
            self._store.set_backoff(self.replica_id, *self._backoff)
            self._move(_S.FAILED, reason)
        else:
            self._move(_S.STOPPED, reason)
        self._store.end_life(self.life.id, reason, self.gauge.counters)
        self._around.clear_away(self.life)
        log.info("replica %s: life %s is over: %s", self.replica_id, self.life.id, reason.partition("\n")[0])
        self.is_done = True
        return 0.0

    def _move(self, to: ReplicaState, reason: str = "") -> None:
        if self._state is to:
            return
        if not may_move(self._state, to):
            raise IllegalMove(f"replica {self.replica_id}: {self._state} → {to}")
        if self._store.move(self.replica_id, self._state, to, reason):
            self._state = to
            return
        # an earlier try that seemed to fail went through, or the row is gone, or somebody else moved it
        rows = {row.id: row for row in self._store.replicas()}
        self._state = rows[self.replica_id].state if self.replica_id in rows else to


def _is_idle(counters: Counters | None) -> bool:
    return counters is not None and counters.running == 0 and counters.waiting == 0


def _moved(before: Counters, after: Counters) -> bool:
    return (before.prompt_tokens, before.generation_tokens) != (after.prompt_tokens, after.generation_tokens)


def _differ(new: Counters, saved: Counters) -> bool:
    """Whether a reading is worth a write: something changed, or the saved one gets old."""
    changed = (new.running, new.waiting, new.kv_usage) != (saved.running, saved.waiting, saved.kv_usage)
    return _moved(saved, new) or changed or new.at - saved.at >= _SAVE_UNCHANGED_S
