"""What the benchmark reads off the machine: processes' memory, what everybody else used meanwhile, what it runs on."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    with contextlib.suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def memory_bytes(pids: list[int]) -> int:
    """What processes hold together, shared pages counted once."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def num_sockets(pid: int) -> int:
    """Open sockets of a process."""
    num = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            num += os.readlink(entry).startswith("socket:")
    return num


class Others:
    """Cores that other processes kept busy, and that the host took away, while the benchmark measured."""

    def __init__(self) -> None:
        self._busy_s = self._stolen_s = self._ours_s = self._seconds = 0.0

    def read(self) -> tuple[float, float]:
        user, nice, system, _idle, _iowait, irq, softirq, steal = (
            int(value) * _TICK_S for value in Path("/proc/stat").read_text().split()[1:9]
        )
        return user + nice + system + irq + softirq, steal

    def count(self, before: tuple[float, float], ours_s: float, seconds: float) -> None:
        """Add one measured stretch, in which the benchmark itself used `ours_s`."""
        busy_s, stolen_s = self.read()
        self._busy_s += busy_s - before[0]
        self._stolen_s += stolen_s - before[1]
        self._ours_s += ours_s
        self._seconds += seconds

    def __str__(self) -> str:
        seconds = self._seconds or 1
        others = max(self._busy_s - self._ours_s, 0) / seconds
        return (
            f"{others:.2f} cores by other processes and between loads, {self._stolen_s / seconds:.2f} taken by the host"
        )


def hardware() -> str:
    """Cores this process may use, and their model."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown CPU")
    return f"{len(os.sched_getaffinity(0))} cores, {model}"


def commit() -> str:
    """HEAD, and whether the gateway's code differs from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=REPO, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "inference/gateway", "inference/metering")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes to the gateway" if changed else "")
