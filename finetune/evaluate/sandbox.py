"""Where generated code runs: bubblewrap around a bare Python. No sandbox, no run.

Inside there is the Python with its standard library and the system's shared libraries, all read-only, and a small /tmp;
no network, no /proc, no /etc, no home, no data. `inside.py` sets the resource limits before anything else runs. What is
run, and what its answer is worth, is `judge`'s matter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from finetune.evaluate.errors import SandboxMissing
from finetune.evaluate.syscalls import seccomp_filter

INSTALL = "generated code runs in bubblewrap only, and it is not installed: apt-get install bubblewrap"
PROBE_TIMEOUT_S = 20
SCRIPT = Path(__file__).with_name("inside.py")
SCRIPT_INSIDE = "/inside.py"
LIBRARY_FOLDERS = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64")
# --clearenv, --unshare-all's cgroup part and --size need bubblewrap 0.7 (Debian 12 has 0.8).
ISOLATED = ("--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL")


@dataclass(frozen=True)
class Limits:
    """What one sandboxed process may use. Wall-clock time is for both sides of a run together."""

    wall_s: float = 30.0
    cpu_s: int = 6
    memory_bytes: int = 512 * 2**20
    file_bytes: int = 2**20
    tmp_bytes: int = 16 * 2**20
    open_files: int = 32


@dataclass(frozen=True)
class Running:
    """A sandbox at work, as long as `life` is open: the write end of a pipe that nobody else holds.

    bubblewrap dies with its parent only from a moment on, and what it started dies with it only from a later one. Who is killed
    before leaves a sandbox behind; its script sees then that nobody holds the pipe.
    """

    child: subprocess.Popen[bytes]
    life: int


@dataclass(frozen=True)
class Sandbox:
    """A bubblewrap that was seen to work here. Get one with `find`."""

    bwrap: Path
    limits: Limits = Limits()

    def start(self, script_arguments: Sequence[str], stdin: int, inherited: Sequence[int]) -> Running:
        """Run inside.py with these arguments; it inherits the given descriptors and the read end of its life, no other.

        Whatever it prints is thrown away. The sandbox dies with this thread.
        """
        limits = self.limits
        life, held = os.pipe()
        numbers = [limits.cpu_s, limits.memory_bytes, limits.file_bytes, limits.open_files, life]
        command = [*python_command(), SCRIPT_INSIDE, *map(str, numbers), *script_arguments]
        try:
            child = self._start(command, stdin=stdin, stderr=subprocess.DEVNULL, inherited=[life, *inherited])
        except BaseException:
            os.close(held)
            raise
        finally:
            os.close(life)
        return Running(child, held)

    def probe(self) -> None:
        """Start the sandboxed Python once.

        Raises: SandboxMissing with bubblewrap's own words when that fails.
        """
        command = [*python_command(), "-c", "import ast, json, resource"]
        child = self._start(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, inherited=())
        try:
            said = child.communicate(timeout=PROBE_TIMEOUT_S)[1].decode(errors="replace").strip()
        except subprocess.TimeoutExpired:
            said = f"it did not end within {PROBE_TIMEOUT_S} s"
        finally:
            _end(child)
        if child.returncode != 0:
            raise SandboxMissing(
                f"bubblewrap can't make a sandbox here: {said[-400:] or f'status {child.returncode}'}. Allow user namespaces"
                " (kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0, and a container"
                " profile that permits them), or run the worker as root"
            )

    def _start(self, command: list[str], stdin: int, stderr: int, inherited: Sequence[int]) -> subprocess.Popen[bytes]:
        filter_end, write_end = os.pipe()
        try:
            with os.fdopen(write_end, "wb") as pipe:
                pipe.write(seccomp_filter())
            argv = [
                str(self.bwrap),
                *ISOLATED,
                *_file_system(self.limits.tmp_bytes),
                "--seccomp",
                str(filter_end),
                "--",
            ]
            return subprocess.Popen(
                [*argv, *command],
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={},
                pass_fds=[filter_end, *inherited],
                start_new_session=True,
            )
        finally:
            os.close(filter_end)


def find(limits: Limits | None = None) -> Sandbox:
    """The sandbox of this machine, tried out.

    Raises: SandboxMissing with what to install or allow.
    """
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxMissing(INSTALL)
    sandbox = Sandbox(Path(found), limits or Limits())
    sandbox.probe()
    return sandbox


def stop(running: Running) -> None:
    """End a sandbox with everything in it: its first process dies with bubblewrap, and the kernel ends the others."""
    os.close(running.life)
    _end(running.child)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.kill()
    child.wait()


@cache
def python_command() -> tuple[str, ...]:
    """The interpreter below this one's virtual environment, without site packages and without writing caches."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    beside = Path(sys.base_prefix, "bin", name)
    return (str(beside if beside.exists() else Path(sys.executable).resolve()), "-I", "-S", "-B")


def _file_system(tmp_bytes: int) -> Iterator[str]:
    for folder in map(Path, LIBRARY_FOLDERS):
        if folder.is_symlink():
            yield from ("--symlink", os.readlink(folder), str(folder))
        elif folder.is_dir():
            yield from ("--ro-bind", str(folder), str(folder))
    prefix = Path(sys.base_prefix)
    for path in (Path(python_command()[0]), prefix / "lib", prefix / "lib64"):
        if path.exists() and str(path) not in LIBRARY_FOLDERS:
            yield from ("--ro-bind", str(path), str(path))
    yield from ("--ro-bind", str(SCRIPT), SCRIPT_INSIDE)
    # A Python outside the system's folders finds its own library without /etc/ld.so.cache.
    yield from ("--setenv", "LD_LIBRARY_PATH", str(prefix / "lib"))
    yield from ("--size", str(tmp_bytes), "--tmpfs", "/tmp", "--chdir", "/tmp")  # noqa: S108 - inside the sandbox
    # bubblewrap's root is a memory file system of its own: writable it would be memory without a limit.
    yield from ("--remount-ro", "/")
