"""Ends engines that outlived everybody who knew them: found by the run directory in their command line."""

from __future__ import annotations

import os
from pathlib import Path

from ops.runner.processes import end_group


def engines_of(run_dir: Path) -> list[int]:
    """The process groups of engines whose socket lies in this run directory."""
    mark = f"--uds\0{run_dir}/replicas/".encode()
    groups = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if mark in (entry / "cmdline").read_bytes():
                groups.add(os.getpgid(int(entry.name)))
        except (OSError, ProcessLookupError):
            continue  # it ended while we looked
    return sorted(groups)


def end_engines(run_dir: Path) -> int:
    """SIGKILL them; returns how many there were."""
    groups = engines_of(run_dir)
    for group in groups:
        end_group(group)
    return len(groups)
