"""A CPU-only box as N virtual devices, so that it runs the same plan as a box with accelerators.

Each device is a share of the cores this process may use and an equal share of the memory. The shares bind what an
engine uses; they are not enforced by the kernel.
"""

import os
import platform
from itertools import pairwise
from pathlib import Path

from inference.devices.info import DeviceInfo

_NAME = "cpu:"
MIN_DEFAULT_DEVICES = 3  # an engine, a second one beside it, and a fine-tune or an upgrade
MAX_DEFAULT_DEVICES = 4
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CGROUP_USED = Path("/sys/fs/cgroup/memory.current")


def is_processors(device_id: str) -> bool:
    """Whether it is a share of this machine's own processors."""
    return device_id.startswith(_NAME)


class CpuProbe:
    """Reads /proc; utilisation is the share of busy time since the last reading."""

    def __init__(self, count: int | None = None, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._cores = sorted(os.sched_getaffinity(0))
        self._count = count or max(MIN_DEFAULT_DEVICES, min(MAX_DEFAULT_DEVICES, len(self._cores)))
        self._name = _cpu_name(proc)
        self._last: dict[int, tuple[int, int]] = {}

    def read(self) -> list[DeviceInfo]:
        total, used = _memory(self._proc)
        times = _core_times(self._proc)
        shares = split_cores(self._cores, self._count)
        devices = [
            DeviceInfo(
                id=f"{_NAME}{number}",
                kind="cpu",
                name=self._name,
                memory_bytes=total // self._count,
                memory_used_bytes=used // self._count,
                utilisation=self._busy(cores, times),
                cores=cores,
            )
            for number, cores in enumerate(shares)
        ]
        self._last = times
        return devices

    def _busy(self, cores: tuple[int, ...], times: dict[int, tuple[int, int]]) -> float | None:
        seen = [core for core in cores if core in times and core in self._last]
        total = sum(times[core][1] - self._last[core][1] for core in seen)
        if total <= 0:
            return None
        busy = sum(times[core][0] - self._last[core][0] for core in seen)
        return min(1.0, max(0.0, busy / total))


def probe(count: int | None) -> CpuProbe:
    return CpuProbe(count)


def split_cores(cores: list[int], count: int) -> list[tuple[int, ...]]:
    """Give each device an even, unshared run of cores; with more devices than cores they take turns."""
    if count >= len(cores):
        return [(cores[number % len(cores)],) for number in range(count)]
    edges = [number * len(cores) // count for number in range(count + 1)]
    return [tuple(cores[low:high]) for low, high in pairwise(edges)]


def _cpu_name(proc: Path) -> str:
    for line in (proc / "cpuinfo").read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Hardware"} and value.strip():
            return value.strip()
    return platform.machine() or "CPU"


def _memory(proc: Path) -> tuple[int, int]:
    """Total and used bytes of this machine, or of the control group when that is the smaller one."""
    fields = {}
    for line in (proc / "meminfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields[key] = int(value.split()[0]) * 1024
    total = fields["MemTotal"]
    used = total - fields.get("MemAvailable", fields["MemFree"])
    limit = _number_in(_CGROUP_LIMIT)
    if limit is not None and limit < total:
        return limit, min(limit, _number_in(_CGROUP_USED) or used)
    return total, used


def _number_in(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _core_times(proc: Path) -> dict[int, tuple[int, int]]:
    """Busy and total clock ticks of each core since boot."""
    times = {}
    for line in (proc / "stat").read_text().splitlines():
        name, *values = line.split()
        if name.startswith("cpu") and name[3:].isdigit():
            # user nice system idle iowait irq softirq steal; guest time is already within user
            ticks = [int(value) for value in values[:8]]
            times[int(name[3:])] = (sum(ticks) - sum(ticks[3:5]), sum(ticks))
    return times
