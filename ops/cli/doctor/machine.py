"""The machine itself: Python and its packages, processors, memory, disks, /tmp, the clock."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from appliance.env import REPO, Env
from ops.cli.doctor.finding import Finding, failed, ok, warning
from ops.cli.surroundings import DATA_FREE_BYTES

PYTHON = (3, 11)
LITTLE_DISK_BYTES = 10 << 30
LITTLE_MEMORY_BYTES = 1 << 30
FEW_INODES = 10_000
SHARED = Path("/tmp")  # noqa: S108 - looked at, nothing is written
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
TOLD_PACKAGES = 3


def python(_env: Env) -> Iterator[Finding]:
    """The interpreter's release, and the control plane's packages against their lock."""
    release = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == PYTHON:
        yield ok("python", f"{release}, {sys.executable}")
    else:
        yield failed("python", release, "Python 3.11 is needed: remove .venv, then make PYTHON=/path/to/python3.11 up")
    wrong = [name for name, version in pinned(REPO / "requirements" / "base.lock") if installed(name) != version]
    if wrong:
        some = ", ".join(wrong[:TOLD_PACKAGES])
        yield failed(
            "packages", f"{len(wrong)} are not as locked: {some}", "rm .venv/.base.stamp, then `make up` again"
        )
    else:
        yield ok("packages", "as locked")


def pinned(lock: Path) -> list[tuple[str, str]]:
    """Each package of a lock with its release."""
    return [(found[1], found[2]) for found in PINNED.finditer(lock.read_text(encoding="utf-8"))]


def installed(name: str) -> str | None:
    """A package's release in this environment."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def processors(_env: Env) -> Iterator[Finding]:
    """How many this process may use."""
    count = len(os.sched_getaffinity(0))
    if count >= 2:
        yield ok("processors", str(count))
    else:
        yield warning("processors", str(count), "engines, worker and console share one; two or more are better")


def memory(_env: Env) -> Iterator[Finding]:
    """What is left, with what the kernel can take back."""
    facts = dict(re.findall(r"^(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text(), flags=re.MULTILINE))
    total, left = int(facts["MemTotal"]) * 1024, int(facts["MemAvailable"]) * 1024
    found = f"{left / 2**30:.1f} GiB of {total / 2**30:.1f} GiB are left"
    if left >= LITTLE_MEMORY_BYTES:
        yield ok("memory", found)
    else:
        yield warning("memory", found, "the kernel may end engines: withdraw a model, or end what else runs here")


def disks(env: Env) -> Iterator[Finding]:
    """Room and inodes where data and models lie."""
    for name, path in (("data", env.data_dir), ("cache", env.cache_dir)):
        existing = next(place for place in (path, *path.parents) if place.exists())
        yield _disk(f"disk of {name}", path, existing, f"CODERACK_{name.upper()}_DIR")


def _disk(check: str, path: Path, existing: Path, variable: str) -> Finding:
    free, facts = shutil.disk_usage(existing).free, os.statvfs(existing)
    found = f"{free / 2**30:.1f} GiB free, {path}"
    if not os.access(existing, os.W_OK):
        return failed(check, f"{existing} can't be written", f"run as its owner, or set {variable}")
    if facts.f_files and facts.f_favail < FEW_INODES:
        return failed(check, f"{facts.f_favail} inodes are left on {existing}", "remove many small files there")
    if free < DATA_FREE_BYTES:
        return failed(check, found, f"free some space, or set {variable} to another disk")
    if free < LITTLE_DISK_BYTES:
        return warning(check, found, "models and fine-tunes need room: free some space before it is gone")
    return ok(check, found)


def temporary(env: Env) -> Iterator[Finding]:
    """The folder that all users share, and the run directory with its sockets."""
    mode = stat.S_IMODE(SHARED.stat().st_mode)
    if mode & 0o1777 == 0o1777:
        yield ok(str(SHARED), f"mode {mode:o}")
    else:
        yield failed(
            str(SHARED), f"mode {mode:o}: others can't use it, or can remove what is ours", f"chmod 1777 {SHARED}"
        )
    if not env.run_dir.exists():
        yield ok("run directory", f"{env.run_dir}, made at the start")
        return
    facts = env.run_dir.lstat()
    if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid():
        yield ok("run directory", str(env.run_dir))
    else:
        yield failed(
            "run directory", f"{env.run_dir} belongs to uid {facts.st_uid}", "run as that user, or set CODERACK_RUN_DIR"
        )


def clock(_env: Env) -> Iterator[Finding]:
    """A clock that stands before the software's own files can't be right; bundles, keys and leases go by it."""
    now = datetime.now(UTC)
    newest = datetime.fromtimestamp(max(path.stat().st_mtime for path in (REPO / "appliance").glob("*.py")), UTC)
    if now < newest:
        found = f"{now:%Y-%m-%d %H:%M}Z, before the software was put here ({newest:%Y-%m-%d %H:%M}Z)"
        yield failed("clock", found, "set the clock, and have a time server keep it")
    else:
        yield ok("clock", f"{now:%Y-%m-%d %H:%M:%S}Z")
