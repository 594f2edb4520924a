"""Watches over one engine for one life: up to ready, through its work, down to its end.

One thread per engine, so that an engine that answers slowly delays nobody else. The thread decides only what concerns
this engine; which engines there should be is the plan's business. Whatever the store refuses is tried again: while the
database is away the engine goes on serving. Leaving (the supervisor ends) touches nothing; a new keeper adopts.
"""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from inference.devices.cpu import is_processors
from inference.engines import EngineKind
from inference.pool import metrics
from inference.pool.adapter_loader import AdapterLoader
from inference.pool.adapters import Wish
from inference.pool.backoff import delay_s
from inference.pool.canary import Journal
from inference.pool.checkup import Checkup, Patient
from inference.pool.ending import Ending, Quiet, found, reason_of_death, sooner
from inference.pool.errors import IllegalMove
from inference.pool.load import Load
from inference.pool.process import ExitWatch, kill_session
from inference.pool.settings import PoolSettings
from inference.pool.sleep import Sleep
from inference.pool.states import LIVE, ReplicaState, may_move
from inference.pool.store import Counters, Life, ReplicaRow, Store

log = logging.getLogger(__name__)

_S = ReplicaState
_LOOK_S = 0.25
_ASLEEP_S = 5.0
_RETRY_S = 1.0
_FAILED_GRACE_S = 2.0  # an engine that does not work gets little time to end by itself


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
        self.model = model
        self.life = life
        self.is_done = False
        self._around = around
        self._store = around.store
        self._settings = around.settings
        self._state = row.state
        self._restarts = row.restarts
        self._watch = ExitWatch(life.pid, life.pid_started)
        on_processors = bool(row.devices) and all(is_processors(one) for one in row.devices)
        patient = Patient(row.id, life, model, on_processors)
        self._checkup = Checkup(patient, around.kind, around.store, around.journal, around.settings)
        told = around.settings.adapters(life.id)
        self._adapters = AdapterLoader(life, around.kind, around.store, told, self._watch.wake)
        self._sleep = Sleep(life, around.kind, around.store)
        self._is_to_wake = False
        self._warming_since: float | None = None
        self._ready_since = time.monotonic()  # of an engine that is adopted, from now on
        self._ending: Ending | None = found(row, around.settings)
        self._quiet = Quiet(self._checkup, self._adapters)
        self._kill_at: float | None = None
        self._exit_text: str | None = None
        self._backoff: tuple[int, float] | None = None
        self._leaving = False
        self._thread = threading.Thread(target=self._run, name=f"keeper-{life.id[:8]}", daemon=True)
        self._steps: dict[ReplicaState, Callable[[], float]] = {
            _S.STARTING: self._while_starting,
            _S.LOADING: self._while_loading,
            _S.WARMING: self._while_warming,
            _S.READY: self._while_ready,
            _S.SLEEPING: self._while_sleeping,
        }

    def start(self) -> None:
        self._thread.start()

    def end(self, reason: str, drain_s: float, grace_s: float, *, sleep: bool = False) -> None:
        """Drain and end the engine, or with `sleep` have it sleep if it can; asked again, the sooner deadline holds."""
        ending = sooner(self._ending, reason, drain_s, grace_s, sleep)
        if ending is not None:
            self._ending = ending
            self._watch.wake()

    def wake(self) -> None:
        """Have a sleeping engine serve again, on devices that are its own."""
        self._is_to_wake = True
        self._watch.wake()

    @property
    def is_ending(self) -> bool:
        """Whether its engine is being drained or ended."""
        return self._ending is not None

    @property
    def has_its_adapters(self) -> bool:
        """Whether its engine has the adapters that it is to have, but for those that can't be loaded."""
        return self._adapters.is_settled

    def want_adapters(self, wish: Wish) -> None:
        """The adapters that the engine is to have, from warming on; asked for the same again, nothing happens."""
        self._adapters.want(wish)

    def leave(self) -> None:
        """Stop watching; the engine goes on."""
        self._leaving = True
        self._watch.wake()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    @property
    def life_id(self) -> str:
        return self.life.id

    @property
    def counters(self) -> Counters | None:
        return self._checkup.gauge.counters

    def load(self) -> Load:
        """Throughput and load now, without latencies."""
        return self._checkup.gauge.load(time.time())

    def sample(self) -> Load:
        """The same with the latencies since the last sample: for one reader, each is told once."""
        return self._checkup.gauge.sample(time.time())

    def _run(self) -> None:
        exited = False
        pause_s = 0.0
        while not self.is_done and not self._leaving:
            try:
                exited = self._watch.wait(pause_s) or exited
                if not self._leaving:
                    pause_s = self._bury() if exited else self._step()
            except Exception:
                # The top of this engine's loop. The store may be away, anything else is a fault of ours: in both cases
                # the engine serves on, and the same step is tried again.
                log.exception("replica %s: a step failed, it will be tried again", self.replica_id)
                metrics.FAULTS.labels("keeper").inc()
                pause_s = _RETRY_S
                time.sleep(_RETRY_S if exited else 0.0)
        self._checkup.leave(_RETRY_S)
        self._watch.close()

    def _step(self) -> float:
        """Do what is due; the seconds until the next look."""
        if self._ending is None and self._state not in self._steps:
            reason = f"found {self._state} with its engine still running"
            self.end(reason, self._settings.drain_s, self._settings.grace_s)
        return self._steps[self._state]() if self._ending is None else self._wind_down(self._ending)

    def _while_starting(self) -> float:
        self._move(_S.LOADING)
        return 0.0

    def _while_loading(self) -> float:
        limit_s = self._settings.load_timeout_s
        if self._checkup.answers():
            self._move(_S.WARMING)
            return 0.0
        if time.time() - self.life.started_at > limit_s:
            self._fail(f"it did not come up within {limit_s:.0f} s")
        return 2 * _LOOK_S

    def _while_warming(self) -> float:
        now = time.monotonic()
        if self._warming_since is None:
            self._warming_since = now
            self._checkup.send_canary(self._settings.warm_timeout_s)
        self._adapters.look()
        if self._checkup.canary_is_out():
            return _LOOK_S
        failure = self._checkup.canary_result()
        if failure is None:
            return self._become_ready()
        if now - self._warming_since >= self._settings.warm_timeout_s:
            self._fail(f"no first token within {self._settings.warm_timeout_s:.0f} s: {failure}")
        else:
            self._checkup.send_canary(self._settings.warm_timeout_s)
        return _RETRY_S

    def _become_ready(self) -> float:
        self._checkup.read_counters()
        self._store.set_backoff(self.replica_id, self._restarts, None)
        self._ready_since = time.monotonic()
        self._move(_S.READY)
        return 0.0

    def _while_ready(self) -> float:
        pause_s = self._checkup.look()
        if self._checkup.is_hung():
            self._fail(f"hung: no token for {self._checkup.silent_s():.0f} s while its counters stood still")
            return 0.0
        return min(pause_s, self._adapters.look(), self._forget_failures())

    def _forget_failures(self) -> float:
        """Only once it has served for a while: one that dies of its first request, each time, is broken.

        The seconds until then.
        """
        if not self._restarts:
            return math.inf
        left_s = self._ready_since + self._settings.settled_s - time.monotonic()
        if left_s > 0:
            return left_s
        self._store.set_backoff(self.replica_id, 0, None)
        self._restarts = 0
        return math.inf

    def _while_sleeping(self) -> float:
        if not self._is_to_wake:
            return _ASLEEP_S  # its end and a wish to wake it are heard at once
        if failure := self._sleep.wake_up():
            self._fail(f"it did not wake up: {failure}")
        else:
            self._is_to_wake, self._warming_since = False, None
            self._move(_S.WARMING)
        return 0.0

    def _fail(self, reason: str) -> None:
        """End an engine that does not work: what it has accepted can't be waited for."""
        log.error("replica %s: %s", self.replica_id, reason)
        self._ending = Ending(reason, time.monotonic(), _FAILED_GRACE_S, failed=True)

    def _wind_down(self, ending: Ending) -> float:
        if self._kill_at is not None:
            return self._insist(ending, self._kill_at)
        if self._state is _S.READY:
            self._move(_S.DRAINING, ending.reason)
        serving = self._state is _S.DRAINING and not ending.failed
        if serving and time.monotonic() < ending.drained_by and not self._quiet.is_quiet():
            return _LOOK_S
        if self._state is _S.DRAINING:
            self._checkup.read_counters()  # the last reading of this life goes on record with its end
            # only with nothing to do: asked to sleep, an engine waits for its requests, however long they take
            if ending.sleep and self._quiet.is_quiet() and self._fall_asleep(ending):
                return _ASLEEP_S
        self._watch.send(signal.SIGTERM)
        self._kill_at = time.monotonic() + ending.grace_s
        return 0.0

    def _fall_asleep(self, ending: Ending) -> bool:
        if not self._sleep.fall_asleep():
            return False
        self._adapters.start_over()
        self._is_to_wake = False
        self._move(_S.SLEEPING, ending.reason)
        self._ending = None if self._ending is ending else self._ending  # it may be to end after all
        return True

    def _insist(self, ending: Ending, kill_at: float) -> float:
        # the grace may have been cut short meanwhile
        self._kill_at = min(kill_at, time.monotonic() + ending.grace_s)
        left_s = self._kill_at - time.monotonic()
        if left_s > 0:
            return left_s
        log.warning("replica %s: it did not end in time and is killed", self.replica_id)
        kill_session(self.life.pid, self.life.pid_started)
        return _LOOK_S

    def _bury(self) -> float:
        """The process has ended: end what is left of its session, put it on record. May be repeated."""
        if self._exit_text is None:
            self._exit_text = self._watch.exit_text()
        left = kill_session(self.life.pid, self.life.pid_started)
        reason = reason_of_death(self._ending, self._exit_text, self.life.log)
        if self._state in LIVE:
            self._record_state(reason)
            if self._state in LIVE:
                return 0.0  # somebody else moved it meanwhile: once more, from the state just read
        if left:  # they still hold the devices' memory: the next engine must not start before they are gone
            time.sleep(_LOOK_S / 2)
            return 0.0
        self._store.end_life(self.life.id, reason, self._checkup.gauge.counters)
        self._around.clear_away(self.life)
        log.info("replica %s: life %s is over: %s", self.replica_id, self.life.id, reason.partition("\n")[0])
        self.is_done = True
        return 0.0

    def _record_state(self, reason: str) -> None:
        if self._ending is not None and not self._ending.failed:
            if self._state is _S.READY:  # it ended by itself before the drain began
                self._move(_S.DRAINING, reason)
            self._move(_S.STOPPED, reason)
            return
        if self._backoff is None:
            self._backoff = (self._restarts + 1, time.time() + delay_s(self._restarts + 1))
            metrics.ENGINE_FAILURES.labels(self.model or "").inc()
        self._store.set_backoff(self.replica_id, *self._backoff)
        self._move(_S.FAILED, reason)

    def _move(self, to: ReplicaState, reason: str = "") -> None:
        if self._state is to:
            return
        if not may_move(self._state, to):
            raise IllegalMove(f"replica {self.replica_id}: {self._state} to {to}")
        if self._store.move(self.replica_id, self._state, to, reason):
            self._state = to
            return
        # an earlier try that seemed to fail went through, or the row is gone, or somebody else moved it
        rows = {row.id: row for row in self._store.replicas()}
        self._state = rows[self.replica_id].state if self.replica_id in rows else to
