"""Running pip as a child: its output kept in a log, its progress told, its failures turned into errors that help.

What to install and where is the caller's matter. pip's own configuration (indexes, proxies,
certificates) applies as it is.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from ops.slots.errors import CpuTorchMissing, HashMismatch, InstallFailed, NoNetwork, NotEnoughDisk, PackageMissing

LAST_LINES = 40
POLL_S = 1.0
NETWORK_SIGNS = (
    "connection broken by",
    "Max retries exceeded",
    "Failed to establish a new connection",
    "Name or service not known",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "Read timed out",
    "ReadTimeoutError",
    "ProxyError",
)
MISSING_SIGNS = ("No matching distribution found for", "Could not find a version that satisfies the requirement")
INHERITED_TRAPS = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_VIRTUALENV")


def run_pip(
    python: Path,
    arguments: Sequence[str],
    *,
    log: Path,
    temporary: Path,
    on_line: Callable[[str], None] = lambda line: None,
    on_poll: Callable[[], None] = lambda: None,
) -> None:
    """Run `python -m pip <arguments>`; `on_poll` is called about once a second, also while pip is silent.

    Raises: one of ops.slots.errors that says what to do.
    """
    temporary.mkdir(parents=True, exist_ok=True)
    argv = [str(python), "-m", "pip", *arguments, "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    last: deque[str] = deque(maxlen=LAST_LINES)
    with log.open("w", encoding="utf-8") as kept:
        child = subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=_environment(temporary),
        )
        try:
            for line in _lines(child, on_poll):
                kept.write(line)
                last.append(line.rstrip())
                on_line(line)
            status = child.wait()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if status != 0:
        raise explain("\n".join(last), log)


def explain(output: str, log: Path) -> Exception:
    """Turn the end of pip's output into the error that tells a person what to do."""
    if "No space left on device" in output:
        return NotEnoughDisk(f"the disk filled up during the installation: make room or set CODERACK_CACHE_DIR ({log})")
    if "DO NOT MATCH THE HASHES" in output:
        return HashMismatch(f"a package is not the one that was locked; do not use this package source ({log})")
    if any(sign in output for sign in NETWORK_SIGNS):
        return NoNetwork(
            "the package index can't be reached: check the network and the proxy, or point pip at a mirror or a folder"
            f" of wheels (PIP_INDEX_URL, PIP_FIND_LINKS), then run the same command again ({log})"
        )
    for line in output.splitlines():
        if any(sign in line for sign in MISSING_SIGNS):
            return _missing(line, log)
    return InstallFailed(f"pip failed; its last lines were:\n{_tail(output, 12)}\nThe whole output is in {log}")


def _missing(line: str, log: Path) -> Exception:
    if "torch==" in line and "+cpu" in line:
        return CpuTorchMissing(
            "the CPU build of torch is not on the default package index: set PIP_FIND_LINKS (a folder of wheels) or"
            f" PIP_EXTRA_INDEX_URL (an index) to where CPU wheels of torch are, then run the same command again ({log})"
        )
    said = line.removeprefix("ERROR: ").strip()
    return PackageMissing(f"{said}. Check which package index pip is configured to use ({log})")


def _lines(child: subprocess.Popen[str], on_poll: Callable[[], None]) -> LineStream:
    if child.stdout is None:
        raise ValueError("the child's output must be a pipe")
    return LineStream(child.stdout, on_poll)


class LineStream:
    """Iterates over a pipe's lines and calls `on_poll` whenever a second passes without one."""

    def __init__(self, pipe: IO[str], on_poll: Callable[[], None]) -> None:
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._on_poll = on_poll
        self._reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._reader.start()

    def __iter__(self) -> LineStream:
        return self

    def __next__(self) -> str:
        while True:
            try:
                line = self._queue.get(timeout=POLL_S)
            except queue.Empty:
                self._on_poll()
                continue
            if line is None:
                self._reader.join()
                raise StopIteration
            return line

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                self._queue.put(line)
        self._queue.put(None)


def _environment(temporary: Path) -> dict[str, str]:
    # TMPDIR: wheels of a gigabyte would not fit where /tmp is a small memory file system.
    kept = {name: value for name, value in os.environ.items() if name not in INHERITED_TRAPS}
    return kept | {"TMPDIR": str(temporary), "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1"}


def _tail(output: str, count: int) -> str:
    return "\n".join(output.splitlines()[-count:])
