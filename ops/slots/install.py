"""Installing an engine slot: a virtual environment filled from a hashed lock, tried once, then recorded.

A virtual environment can't be moved, so it is built in its final place and counts only once slot.json is there. An
installation that was interrupted is redone; its downloads are still in pip's cache. A lock that changed under the same
vLLM version gets a directory of its own, because engines may be running from the old one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ops.slots import contents, disk
from ops.slots.errors import PythonMissing, SlotBroken
from ops.slots.files import exclusive
from ops.slots.lock import Lock
from ops.slots.pip import run_pip
from ops.slots.progress import PipDisplay, Progress, Tell
from ops.slots.record import SlotRecord, read_record

INCOMPLETE = ".incomplete"
# The installed slot, its wheels while they are unpacked, and pip's cache; the CPU figure is measured, the others are
# estimates from the wheels' sizes.
NEEDED_BYTES = {"cpu": 8 * disk.GB, "cuda": 30 * disk.GB, "ascend": 16 * disk.GB}
SMOKE_IMPORTS = {
    "cpu": "torch, transformers, peft, trl, gguf, vllm",
    "cuda": "torch, transformers, peft, trl, gguf, vllm",
    "ascend": "torch, torch_npu, transformers, peft, trl, vllm, vllm_ascend",
}
SMOKE_TIMEOUT_S = 300
# Published as source only; everything else must come as a wheel, so that nothing is built or run on the way.
BUILT_FROM_SOURCE = {"ascend": ("vllm-ascend", "arctic-inference")}


@dataclass(frozen=True)
class Slot:
    """A slot that is ready for use."""

    path: Path
    record: SlotRecord

    @property
    def python(self) -> Path:
        """The interpreter that engines and training are started with."""
        return self.path / "bin" / "python"


def ensure_slot(lock: Lock, cache_dir: Path, tell: Tell = lambda progress: None) -> Slot:
    """Return the slot of this lock, installing it first where it is not there yet.

    Raises: SlotError with a message for the person who runs the set-up.
    """
    engines = cache_dir / "engines"
    installed = find_slot(lock, cache_dir)
    if installed:
        return installed
    waiting = Progress("waiting", "another set-up is installing this engine slot; waiting for it")
    with exclusive(engines / f".{lock.slot_name}.lock", lambda: tell(waiting)):
        return find_slot(lock, cache_dir) or _install(lock, _place(lock, engines), tell)


def find_slot(lock: Lock, cache_dir: Path) -> Slot | None:
    """The complete slot of exactly this lock, if there is one; takes milliseconds."""
    for path in _candidates(lock, cache_dir / "engines"):
        record = read_record(path)
        if record and record.lock_digest == lock.digest and (path / "bin" / "python").exists():
            return Slot(path, record)
    return None


def verify(slot: Slot) -> list[str]:
    """Re-read every installed file; returns what differs from the record, nothing when all is well."""
    problems = contents.altered(slot.path)
    if contents.digest(slot.path) != slot.record.digest:
        problems.insert(0, "the list of installed files is not the one that was recorded")
    return problems


def _candidates(lock: Lock, engines: Path) -> tuple[Path, Path]:
    return engines / lock.slot_name, engines / f"{lock.slot_name}-{lock.digest[:8]}"


def _place(lock: Lock, engines: Path) -> Path:
    usual, own = _candidates(lock, engines)
    record = read_record(usual)
    return own if record and record.lock_digest != lock.digest else usual


def _install(lock: Lock, path: Path, tell: Tell) -> Slot:
    _clear(path)
    disk.require_space(path, NEEDED_BYTES[lock.flavour], f"the engine slot {path.name}")
    tell(Progress("environment", "making the Python environment"))
    _make_environment(path)
    _fill(lock, path, tell)
    tell(Progress("trying", "importing vLLM, torch and transformers once"))
    _try(lock.flavour, path)
    tell(Progress("recording", "computing the slot's digest"))
    record = SlotRecord(
        name=path.name,
        flavour=lock.flavour,
        vllm_version=lock.vllm_version,
        lock_digest=lock.digest,
        digest=contents.digest(path),
        installed_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    os.sync()  # gigabytes of small files: the record must not reach the disk before them
    record.write(path)
    (path / INCOMPLETE).unlink()
    return Slot(path, record)


def _clear(path: Path) -> None:
    if not path.exists():
        return
    ours = (path / INCOMPLETE).exists() or (path / "pyvenv.cfg").exists() or not any(path.iterdir())
    if not ours:
        raise SlotBroken(f"{path} is in the way and is no engine slot: move it elsewhere and set up again")
    (path / INCOMPLETE).touch()
    shutil.rmtree(path)


def _make_environment(path: Path) -> None:
    path.mkdir(parents=True)
    (path / INCOMPLETE).touch()
    python = shutil.which("python3.11") or (sys.executable if sys.version_info[:2] == (3, 11) else None)
    if python is None:
        raise PythonMissing("Python 3.11 is not installed: apt-get install python3.11 python3.11-venv")
    made = subprocess.run([python, "-m", "venv", str(path)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise PythonMissing(
            f"{python} can't make a virtual environment (apt-get install python3.11-venv):\n{made.stdout}{made.stderr}"
        )


def _fill(lock: Lock, path: Path, tell: Tell) -> None:
    before = contents.installed_count(path)
    display = PipDisplay(tell, len(lock.packages), lambda: contents.installed_count(path) - before)
    temporary = path / ".tmp"
    built = [part for name in BUILT_FROM_SOURCE.get(lock.flavour, ()) for part in ("--no-binary", name)]
    run_pip(
        path / "bin" / "python",
        ["install", "--no-deps", "--require-hashes", "--only-binary", ":all:", *built, "-r", str(lock.path)],
        log=path.with_name(f"{path.name}.install.log"),
        temporary=temporary,
        on_line=display.on_line,
        on_poll=display.on_poll,
    )
    shutil.rmtree(temporary)


def _try(flavour: str, path: Path) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    argv = [str(path / "bin" / "python"), "-I", "-c", f"import {SMOKE_IMPORTS[flavour]}"]
    try:
        tried = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            timeout=SMOKE_TIMEOUT_S,
            env=os.environ | offline,
            cwd=path,
        )
    except subprocess.TimeoutExpired:
        raise SlotBroken(f"importing vLLM in {path} took more than {SMOKE_TIMEOUT_S} s") from None
    if tried.returncode != 0:
        raise SlotBroken(f"the packages in {path} can't be imported:\n" + "\n".join(tried.stderr.splitlines()[-12:]))
