"""Reads the devices beside the pool's loop, which a hung driver must not hold up, and says which changes are to be believed.

One bad reading takes no replica out: that a device is gone or ill, or is well again, counts when it was seen several times
in a row. What the pool does about it is the plan's.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from inference.devices import DeviceInfo, DeviceProcess, Probe
from inference.devices.errors import DeviceError
from inference.devices.info import box_of
from inference.pool.store import ReplicaRow

log = logging.getLogger(__name__)

_TO_BELIEVE_ILL = 2
_TO_BELIEVE_WELL = 3


class Steady:
    """The inventory as it is believed, from one reading to the next."""

    def __init__(self) -> None:
        self._shown: dict[str, DeviceInfo] = {}
        self._doubts: dict[str, int] = {}

    def see(self, reading: Iterable[DeviceInfo]) -> list[DeviceInfo]:
        """Take in a reading. A device that was never seen before is believed at once."""
        seen = {device.id: device for device in reading}
        shown: dict[str, DeviceInfo] = {}
        for device_id in [*seen, *(known for known in self._shown if known not in seen)]:
            device = self._believed(self._shown.get(device_id), seen.get(device_id), device_id)
            if device is not None:
                shown[device_id] = device
        self._shown = shown
        return list(shown.values())

    def _believed(self, old: DeviceInfo | None, new: DeviceInfo | None, device_id: str) -> DeviceInfo | None:
        if old is None or (new is not None and new.healthy == old.healthy):
            self._doubts.pop(device_id, None)
            return new
        doubts = self._doubts.get(device_id, 0) + 1
        if doubts >= (_TO_BELIEVE_WELL if new is not None and new.healthy else _TO_BELIEVE_ILL):
            self._doubts.pop(device_id, None)
            return new
        self._doubts[device_id] = doubts
        if new is None:
            return old
        # what can't be read any more keeps its last size, so that nothing seems to have shrunk
        return (
            replace(new, healthy=True, reason="", name=old.name, memory_bytes=old.memory_bytes) if old.healthy else old
        )


class DeviceWatch:
    """A thread that reads; `latest` never waits for it."""

    def __init__(self, probe: Probe, period_s: float, on_news: Callable[[], None]) -> None:
        self._probe = probe
        self._period_s = period_s
        self._on_news = on_news
        self._steady = Steady()
        self._latest: tuple[list[DeviceInfo], float] | None = None
        self._trouble: str | None = None
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="device-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def leave(self) -> None:
        """Read no more. A reading that hangs is left alone."""
        self._leaving.set()

    def latest(self) -> tuple[list[DeviceInfo], float] | None:
        """The devices and when they were read (unix seconds); None as long as no reading succeeded."""
        return self._latest

    def _run(self) -> None:
        while not self._leaving.is_set():
            try:
                devices = self._steady.see(self._probe.read())
                self._latest, self._trouble = (devices, time.time()), None
                self._on_news()
            except DeviceError as error:
                self._complain(str(error))
            except Exception:
                # The top of this thread's loop: what a driver's library throws must not end it.
                log.exception("the devices can't be read, and are tried again")
            self._leaving.wait(self._period_s)

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:  # each reading would say it again
            log.warning("the devices can't be read, taking them as they last were: %s", trouble)
        self._trouble = trouble


def with_foreign(
    devices: Iterable[DeviceInfo], rows: Iterable[ReplicaRow], leased: Collection[str]
) -> list[DeviceInfo]:
    """The devices with those of their processes that are not ours. Of other machines' devices that was told there.

    Ours are the processes in an engine's session, and on a leased device those of our own user. One that can't be looked
    up (it ended, or belongs to another container) counts as ours on a device that is held, else as foreign.
    """
    sessions, held = set(), set(leased)
    for row in rows:
        held |= set(row.devices)
        sessions |= {row.life.pid} if row.life is not None else set()
    return [
        device
        if box_of(device.id)
        else replace(
            device,
            foreign=tuple(
                p for p in device.processes if not _is_ours(p, sessions, device.id in held, device.id in leased)
            ),
        )
        for device in devices
    ]


def _is_ours(process: DeviceProcess, sessions: set[int], is_held: bool, is_leased: bool) -> bool:
    with contextlib.suppress(OSError):
        if os.getsid(process.pid) in sessions:
            return True
        return is_leased and os.stat(f"/proc/{process.pid}").st_uid == os.getuid()
    return is_held
