"""What of the devices is believed, whose processes they run, and a driver that hangs."""

import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from inference.devices import DeviceInfo, DeviceProcess
from inference.devices.errors import DeviceError
from inference.pool.device_watch import DeviceWatch, Steady, with_foreign
from inference.pool.states import ReplicaState
from inference.pool.store import Life, ReplicaRow
from tests.waiting import wait_until

WELL = DeviceInfo("nvidia:0", "nvidia", "H20", 96)
ILL = replace(WELL, name="unknown", memory_bytes=0, healthy=False, reason="NVML: Timeout")


def row(*devices: str, pid: int | None = None) -> ReplicaRow:
    life = None if pid is None else Life("life", pid, 1, Path("/s"), Path("/l"), 0.0)
    return ReplicaRow("r", "lite", 0, ReplicaState.READY, "", devices, life, 0, None)


def test_one_bad_reading_is_not_believed():
    steady = Steady()
    assert steady.see([WELL]) == [WELL]
    assert steady.see([ILL]) == [WELL]
    assert steady.see([WELL]) == [WELL]
    assert steady.see([ILL]) == [WELL]
    assert steady.see([ILL]) == [ILL], "twice in a row is"


def test_one_missing_reading_is_not_believed():
    steady = Steady()
    steady.see([WELL])
    assert steady.see([]) == [WELL]
    assert steady.see([]) == []
    assert steady.see([WELL]) == [WELL], "a new one is, at once"


def test_an_ill_device_must_be_well_for_a_while():
    steady = Steady()
    assert steady.see([ILL]) == [ILL]
    assert [steady.see([WELL])[0].healthy for _ in range(3)] == [False, False, True]


def test_figures_are_always_the_newest():
    steady = Steady()
    steady.see([WELL])
    assert steady.see([replace(WELL, memory_used_bytes=7)])[0].memory_used_bytes == 7
    hot = replace(WELL, temperature_c=90, healthy=False, reason="hot")
    assert (steady.see([hot])[0].temperature_c, steady.see([hot])[0].reason) == (90, "hot")


class Driver:
    """Readings as a list says: devices, an error, or an event that it waits for."""

    def __init__(self, *readings: object) -> None:
        self.readings = list(readings)

    def read(self) -> list[DeviceInfo]:
        reading = self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]
        if isinstance(reading, threading.Event):
            reading.wait()
            return []
        if isinstance(reading, Exception):
            raise reading
        return list(reading)


def test_a_hung_driver_holds_nobody_up():
    never = threading.Event()
    watch = DeviceWatch(Driver([WELL], never), 0.0, lambda: None)
    watch.start()
    devices, _ = wait_until(watch.latest)
    assert devices == [WELL]
    watch.leave()
    never.set()


def test_errors_of_any_kind_leave_the_last_reading_and_end(caplog: pytest.LogCaptureFixture):
    readings = ([WELL], DeviceError("NVML: busy"), DeviceError("NVML: busy"), ValueError("a bug"), [WELL])
    told = threading.Semaphore(0)
    watch = DeviceWatch(Driver(*readings), 0.0, told.release)
    watch.start()
    assert told.acquire(timeout=60)
    assert told.acquire(timeout=60), "it reads again after the errors"
    watch.leave()
    assert watch.latest() is not None
    assert [record.levelname for record in caplog.records][:2] == ["WARNING", "ERROR"], "one trouble is said once"


def test_nothing_is_known_before_the_first_reading():
    watch = DeviceWatch(Driver(DeviceError("no")), 0.0, lambda: None)
    watch.start()
    assert watch.latest() is None
    watch.leave()


def test_it_tells_our_processes_from_others():
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as engine:
        try:
            gone = 2**22 + 1  # above the highest process id there can be
            processes = tuple(DeviceProcess(pid) for pid in (engine.pid, os.getpid(), gone))
            device = replace(WELL, processes=processes)

            def foreign(rows: list[ReplicaRow], leased: set[str]) -> list[int]:
                return [process.pid for process in with_foreign([device], rows, leased)[0].foreign]

            assert foreign([], set()) == [engine.pid, os.getpid(), gone]
            assert foreign([row("nvidia:0", pid=engine.pid)], set()) == [os.getpid()]
            assert foreign([row("nvidia:1", pid=engine.pid)], set()) == [os.getpid(), gone]
            assert foreign([], {"nvidia:0"}) == [], "a fine-tune runs as our own user"
        finally:
            engine.kill()
