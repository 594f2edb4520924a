"""What the benchmark reads off the machine: CPU time of processes, what everybody else used meanwhile, what it runs on."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


class Others:
    """Cores that other processes kept busy, and that the host took away, between two moments."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._began = self._read()

    def __str__(self) -> str:
        seconds, busy, stolen = (now - before for now, before in zip(self._read(), self._began, strict=True))
        return f"{max(busy / seconds, 0):.2f} cores by other processes, {stolen / seconds:.2f} taken by the host"

    def _read(self) -> tuple[float, float, float]:
        user, nice, system, _idle, _iowait, irq, softirq, steal = (
            int(value) * _TICK_S for value in Path("/proc/stat").read_text().split()[1:9]
        )
        ours = sum(cpu_s(pid) for pid in self._pids)
        return time.monotonic(), user + nice + system + irq + softirq - ours, steal


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
