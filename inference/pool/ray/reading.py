"""Reads this machine's devices for a pool elsewhere: `python -m inference.pool.ray.reading RUN_DIR KIND`, a line for a line.

Whose processes are on a device can only be said here: those of engines that node processes on this machine started are ours.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from inference.devices import DeviceInfo, Probe, open_probe
from inference.devices.errors import DeviceError
from inference.pool.process import is_alive, session_of
from inference.pool.ray.order import encode

BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Reading:
    """The devices with the processes that are not ours, or why they can't be read."""

    boot: str
    devices: tuple[DeviceInfo, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class _Process:
    pid: int
    started: int


def read(probe: Probe, folder: Path) -> Reading:
    """One reading. `folder` is where node processes note their engines."""
    boot = BOOT.read_text().strip()
    try:
        devices = probe.read()
    except DeviceError as error:
        return Reading(boot, trouble=str(error))
    ours = sessions(folder)
    return Reading(boot, tuple(_with_foreign(device, ours) for device in devices))


def sessions(folder: Path) -> set[int]:
    """The sessions of engines that live."""
    found = set()
    for path in folder.glob("*.pid"):
        with contextlib.suppress(OSError, msgspec.DecodeError):  # it is being written, or ended
            process = msgspec.json.decode(path.read_bytes(), type=_Process)
            if is_alive(process.pid, process.started):
                found.add(process.pid)
    return found


def _with_foreign(device: DeviceInfo, ours: Collection[int]) -> DeviceInfo:
    return replace(device, foreign=tuple(p for p in device.processes if (session_of(p.pid) or 0) not in ours))


def main(run_dir: str, devices: str) -> None:
    """Answer until nobody asks."""
    kind, _, count = devices.partition(":")
    probe = open_probe(kind, int(count) if count else None)
    while sys.stdin.buffer.readline():
        sys.stdout.buffer.write(encode(read(probe, Path(run_dir) / "nodes")) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
