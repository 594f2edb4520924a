"""The pool's loop: read what is desired, what is there and what runs; plan; act.

It is thin on purpose: what to do is `plan`'s, how an engine is started the launcher's, and each engine's life has a
keeper. Engines whose rows it finds are adopted, after a restart of the supervisor all of them. When told to leave it
leaves the engines running; when the whole appliance is to stop it drains and ends them, and then returns.
"""

import logging
import os
import select
import time
from collections.abc import Iterable
from dataclasses import replace

from inference.devices import DeviceInfo, Probe
from inference.engines.errors import EngineError
from inference.pool import metrics
from inference.pool.adapters import Wish
from inference.pool.backoff import delay_s
from inference.pool.device_watch import DeviceWatch, with_foreign
from inference.pool.errors import LaunchFailed
from inference.pool.keeper import Keeper, Surroundings
from inference.pool.launcher import Launcher
from inference.pool.lender import Lender
from inference.pool.load import Load
from inference.pool.plan import (
    NOT_WANTED,
    Action,
    Create,
    Delete,
    Drain,
    MarkFailed,
    Start,
    Stop,
    others_serve,
    plan,
    wants_engines,
)
from inference.pool.reading import Reading
from inference.pool.states import ReplicaState
from inference.pool.store import DesiredAdapter, DesiredDeployment, Life, ReplicaRow

log = logging.getLogger(__name__)

_S = ReplicaState
_LEAVE_S = 1.5  # for canaries on their way; the process must be gone within two seconds


class Supervisor:
    def __init__(self, around: Surroundings, launcher: Launcher, probe: Probe) -> None:
        self._around = around
        self._store = around.store
        self._reading = Reading(around.store)
        self._settings = around.settings
        self._launcher = launcher
        self._lender = Lender(around.store, around.settings)
        self._watch = DeviceWatch(probe, self._settings.devices_s, lambda: os.eventfd_write(self._wakeup, 1))
        self._keepers: dict[str, Keeper] = {}
        self._devices: list[DeviceInfo] = []
        self._read_at: float | None = None
        self._next_sample = 0.0
        self._tokens = metrics.TokenSum()
        self._is_stopping = False
        self._is_leaving = False
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def leave(self) -> None:
        """Make `run` return soon; engines go on. Safe in a signal handler: it takes no lock."""
        self._is_leaving = True
        os.eventfd_write(self._wakeup, 1)

    def run(self) -> None:
        """Return once told to leave, or once the appliance is to stop and no engine is left."""
        self._watch.start()
        while not self._is_leaving:
            try:
                if self._tick():
                    break
            except Exception:
                # The top of the pool's loop: with the database away nothing can be planned, and the engines serve on.
                log.exception("the pool could not plan, and tries again")
                metrics.FAULTS.labels("plan").inc()
            if select.select([self._wakeup], [], [], self._settings.tick_s)[0]:
                os.eventfd_read(self._wakeup)
        self._let_go()

    def _tick(self) -> bool:
        """One look at everything; True when the stop that was asked for is complete."""
        self._is_stopping = self._store.stop_requested()
        known = self._reading.read()
        desired, rows, leased = [] if self._is_stopping else known.desired, known.rows, known.leased
        self._tokens.add(self._keepers.values())  # also of those that have just ended
        self._keepers = {key: keeper for key, keeper in self._keepers.items() if not keeper.is_done}
        deployments = {deployment.id: deployment for deployment in desired}
        self._match_keepers(rows, deployments)
        by_id = {row.id: row for row in rows}
        self._look_at_devices(rows, leased)
        metrics.NOW.picture = metrics.picture(desired, rows, self._devices, leased, self._keepers.values())
        actions = self._next_actions(desired, rows, leased)
        for action in actions:
            self._try(action, by_id, deployments)
        if self._read_at is not None and not self._is_stopping:
            touched = {action.replica_id for action in actions if not isinstance(action, Create)}
            self._lender.step(desired, rows, leased, self._keepers, touched)
        self._hand_out_adapters(deployments, known.adapters)
        self._sample(desired)
        metrics.LAST_PLAN.set_to_current_time()
        return self._is_stopping and not rows and not self._keepers

    def _look_at_devices(self, rows: list[ReplicaRow], leased: set[str]) -> None:
        """Take over a reading that is new. Whose processes they are is told by the engines of this moment."""
        latest = self._watch.latest()
        if latest is not None and latest[1] != self._read_at:
            self._devices = with_foreign(latest[0], rows, leased)
            self._store.save_devices(self._devices)
            self._read_at = latest[1]
            metrics.DEVICES_READ.set(self._read_at)

    def _next_actions(self, desired: list[DesiredDeployment], rows: list[ReplicaRow], leased: set[str]) -> list[Action]:
        """Nothing before the first reading: engines found running would seem to have lost their devices."""
        if self._read_at is None and not self._is_stopping:
            return []
        shares = {deployment.id: self._around.kind.memory_share(deployment.flags) for deployment in desired}
        loading = {keeper.replica_id for keeper in self._keepers.values() if not keeper.has_its_adapters}
        return plan(desired, self._devices, rows, time.time(), leased, shares, loading)

    def _match_keepers(self, rows: list[ReplicaRow], deployments: dict[str, DesiredDeployment]) -> None:
        """Adopt the engines that nobody watches; end those whose row is gone."""
        known = {row.id for row in rows}
        for keeper in self._keepers.values():
            if keeper.replica_id not in known:
                keeper.end("its row is gone", 0, self._settings.grace_s)
            elif self._is_stopping:
                keeper.end("the appliance stops", self._settings.stop_drain_s, self._settings.stop_grace_s)
            elif keeper.is_ending and not wants_engines(deployments.get(keeper.deployment_id)):
                keeper.end(NOT_WANTED, self._settings.drain_s, self._settings.grace_s)  # a patient drain is cut short
        for row in rows:
            if row.life is not None and row.id not in self._keepers:
                log.info("replica %s: adopting engine %d (%s)", row.id, row.life.pid, row.state)
                deployment = deployments.get(row.deployment_id)
                self._keep(row, row.life, deployment.model if deployment else None)

    def _hand_out_adapters(self, deployments: dict[str, DesiredDeployment], adapters: Iterable[DesiredAdapter]) -> None:
        """Tell every keeper what its engine is to have; keepers of engines that are to go keep what they have."""
        kind = self._around.kind
        wishes = {
            deployment.id: Wish(
                deployment.model_path.resolve(),
                kind.max_adapter_rank(deployment.flags),
                kind.adapted_modules(deployment.flags),
                tuple(adapter for adapter in adapters if adapter.deployment_id == deployment.id),
            )
            for deployment in deployments.values()
            if deployment.running
        }
        for keeper in self._keepers.values():
            if keeper.deployment_id in wishes:
                keeper.want_adapters(wishes[keeper.deployment_id])

    def _keep(self, row: ReplicaRow, life: Life, model: str | None) -> None:
        keeper = Keeper(row, life, model, self._around)
        self._keepers[row.id] = keeper
        keeper.start()

    def _try(self, action: Action, rows: dict[str, ReplicaRow], deployments: dict[str, DesiredDeployment]) -> None:
        try:
            self._act(action, rows, deployments)
        except Exception:
            # The top of one action's work: what goes wrong with one replica must not keep the others waiting.
            log.exception("the pool could not carry out %s, and plans it again", action)
            metrics.FAULTS.labels("action").inc()

    def _act(self, action: Action, rows: dict[str, ReplicaRow], deployments: dict[str, DesiredDeployment]) -> None:
        match action:
            case Create(deployment_id, index, devices):
                if self._store.create_replica(deployment_id, index, devices) is None:
                    log.info("%s got another owner meanwhile, planning again", ", ".join(devices))
            case Start(replica_id, deployment_id):
                self._start(rows[replica_id], deployments[deployment_id])
            case Drain(replica_id, reason):
                deployment = deployments.get(rows[replica_id].deployment_id)
                patient = deployment is not None and others_serve(deployment, reason)
                self._end(replica_id, reason, self._settings.patient_drain_s if patient else self._settings.drain_s)
            case Stop(replica_id, reason):
                self._end(replica_id, reason, self._settings.drain_s)
            case MarkFailed(replica_id, from_state, reason):
                log.error("replica %s: %s", replica_id, reason)
                self._store.move(replica_id, from_state, _S.FAILED, reason)
            case Delete(replica_id):
                self._store.delete_replica(replica_id)

    def _end(self, replica_id: str, reason: str, drain_s: float) -> None:
        settings = self._settings
        stopping = (settings.stop_drain_s, settings.stop_grace_s)
        limits = stopping if self._is_stopping else (drain_s, settings.grace_s)
        self._keepers[replica_id].end(reason, *limits)

    def _start(self, row: ReplicaRow, deployment: DesiredDeployment) -> None:
        # while it starts, the row still says what went wrong the last time
        if row.state is not _S.STARTING and not self._store.move(row.id, row.state, _S.STARTING, row.reason):
            return
        try:
            devices = {device.id: device for device in self._devices}
            launched = self._launcher.launch(deployment, row, tuple(devices[device_id] for device_id in row.devices))
        except (LaunchFailed, EngineError) as error:
            self._could_not_start(row, deployment.model, str(error))
            return
        try:
            self._store.begin_life(row.id, launched.life)
        except BaseException:
            launched.abandon()
            raise
        launched.release()
        metrics.ENGINE_STARTS.labels(deployment.model).inc()
        log.info("replica %s: started engine %d on %s", row.id, launched.life.pid, ", ".join(row.devices))
        self._keep(replace(row, state=_S.STARTING, life=launched.life), launched.life, deployment.model)

    def _could_not_start(self, row: ReplicaRow, model: str, reason: str) -> None:
        log.error("replica %s: %s", row.id, reason)
        metrics.ENGINE_FAILURES.labels(model).inc()
        failures = row.restarts + 1
        self._store.set_backoff(row.id, failures, time.time() + delay_s(failures))
        self._store.move(row.id, _S.STARTING, _S.FAILED, reason)

    def _sample(self, desired: list[DesiredDeployment]) -> None:
        if time.monotonic() < self._next_sample:
            return
        self._next_sample = time.monotonic() + self._settings.scrape_s
        loads: dict[str, Load] = {}
        for deployment in desired:
            keepers = [keeper for keeper in self._keepers.values() if keeper.deployment_id == deployment.id]
            if deployment.running or keepers:  # zeros of a version that is not served would say nothing
                # during an upgrade two deployments of one name work side by side
                name = deployment.counted_as or deployment.model
                loads[name] = sum((keeper.sample() for keeper in keepers), start=loads.get(name, Load()))
        for model, load in loads.items():
            self._store.record_sample(model, load, time.time())

    def _let_go(self) -> None:
        self._watch.leave()
        deadline = time.monotonic() + _LEAVE_S
        for keeper in self._keepers.values():
            keeper.leave()
        for keeper in self._keepers.values():
            keeper.join(max(0.0, deadline - time.monotonic()))
