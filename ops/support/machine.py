"""What a support bundle says about the machine and what is installed on it; standard tools only, nothing is changed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from inference.pool.process import is_alive

MEMORY = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree", "Shmem")


def versions(cache_dir: Path) -> dict[str, Any]:
    """Python, what is installed in its environment, and the records of the engine slots."""
    installed = sorted(f"{d.metadata['Name']}=={d.version}" for d in distributions())
    records = {path.parent.name: _json(path) for path in sorted(cache_dir.glob("engines/*/slot.json"))}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "installed": installed,
        "slots": records,
    }


def machine(data_dir: Path, cache_dir: Path) -> dict[str, Any]:
    """Processors, memory, disks, and the size of each entry of the data directory."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    memory = {name: value.split()[0] for name, _, value in (line.partition(":") for line in lines) if name in MEMORY}
    sizes = {path.name: _size(path) for path in sorted(data_dir.iterdir())}
    there = [path for path in (data_dir, cache_dir, Path("/tmp")) if path.is_dir()]  # noqa: S108 - its room is told
    return {
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "memory_kib": memory,
        "disks": {str(path): shutil.disk_usage(path)._asdict() for path in there},
        "data_dir_bytes": sizes,
        "accelerators": _accelerators(),
    }


def processes(run_dir: Path) -> list[dict[str, Any]]:
    """The runner's children, and whether they live."""
    rows = _json(run_dir / "processes.json")
    alive: Callable[[dict[str, Any]], bool] = lambda row: is_alive(row["pid"], row["started"])  # noqa: E731
    return (
        [{"name": row["name"], "pid": row["pid"], "alive": alive(row)} for row in rows]
        if isinstance(rows, list)
        else []
    )


def tail(path: Path, size_bytes: int) -> str:
    """The end of a file, from a line's beginning on."""
    with path.open("rb") as file:
        length = path.stat().st_size
        file.seek(max(0, length - size_bytes))
        content = file.read(size_bytes)
    if length > size_bytes:
        content = content.partition(b"\n")[2]
    return content.decode(errors="replace")


def _accelerators() -> str:
    tool = shutil.which("nvidia-smi") or shutil.which("npu-smi")
    if tool is None:
        return "no nvidia-smi and no npu-smi"
    try:
        argv = [tool, "info"] if tool.endswith("npu-smi") else [tool]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{tool}: {error}"


def _size(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    total = 0
    for parent, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
