"""The pool as a process: one per data directory, its signals, its journal. The control plane's command calls it."""

import contextlib
import fcntl
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

from inference.devices import Probe, open_probe
from inference.engines import EngineKind, engine_kind
from inference.metering.journal import JournalWriter
from inference.pool.attached_store import AttachedStore
from inference.pool.attached_watch import AttachedWatch
from inference.pool.errors import AnotherPoolRuns
from inference.pool.keeper import Surroundings
from inference.pool.launcher import Launcher, LocalLauncher
from inference.pool.settings import PoolSettings
from inference.pool.store import Store
from inference.pool.supervisor import Supervisor

log = logging.getLogger(__name__)

_LOCK_WAIT_S = 10.0


def run_pool(
    store: Store,
    settings: PoolSettings,
    when_sole: Callable[[], object] = lambda: None,
    attached: AttachedStore | None = None,
) -> int:
    """Supervise the engines until told to go; returns the exit status. Call it from the main thread.

    With `attached`, servers that the pool did not start are watched beside them, in threads of their own.

    `when_sole` is called once no other pool can be there: what only one may have is taken then.
    SIGTERM and SIGINT end it within two seconds and leave the engines running. Once `store.stop_requested()` is true it
    drains and ends all engines, deletes their rows and returns.
    Raises: AnotherPoolRuns when another pool holds the data directory for more than ten seconds.
    """
    with _sole_pool(settings):
        when_sole()
        journal = JournalWriter(settings.journal_dir, "pool")
        try:
            kind = engine_kind(settings.engine_kind)
            launcher, probe = _launcher_and_probe(settings, kind)
            around = Surroundings(store, journal, settings, kind, launcher.clear_away)
            supervisor = Supervisor(around, launcher, probe)
            watch = None if attached is None else AttachedWatch(attached, journal, kind, settings)
            with _leaving_on_signals(supervisor), _watching(watch):
                supervisor.run()
        finally:
            journal.close()
    return 0


def _launcher_and_probe(settings: PoolSettings, kind: EngineKind) -> tuple[Launcher, Probe]:
    local, probe = LocalLauncher(settings, kind), open_probe(settings.device_kind, settings.cpu_devices)
    if settings.ray is None:
        return local, probe
    # only here: a pool of one machine neither needs nor reads any of it
    from inference.pool.ray.launcher import RayLauncher  # noqa: PLC0415
    from inference.pool.ray.probe import RayProbe  # noqa: PLC0415

    launcher = RayLauncher(settings, settings.ray, kind, local)
    return launcher, RayProbe(settings, settings.ray, probe, launcher.count)


@contextlib.contextmanager
def _sole_pool(settings: PoolSettings) -> Iterator[None]:
    """Hold the data directory's lock. The kernel drops it when this process dies; engines don't inherit it."""
    settings.lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(settings.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for_lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int) -> None:
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise AnotherPoolRuns("another pool supervises this data directory") from error
        time.sleep(0.2)


@contextlib.contextmanager
def _watching(watch: AttachedWatch | None) -> Iterator[None]:
    if watch is None:
        yield
        return
    watch.start()
    try:
        yield
    finally:
        watch.leave()


@contextlib.contextmanager
def _leaving_on_signals(supervisor: Supervisor) -> Iterator[None]:
    def leave(number: int, _frame: FrameType | None) -> None:
        supervisor.leave()

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
