"""Which files and folders an engine on another machine needs, and whether they are there and the same."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from pathlib import Path

from inference.engines.spec import EngineSpec
from inference.pool.ray.errors import OrderRefused
from inference.pool.settings import PoolSettings, short

LOCK_WAIT_S = 20.0  # an engine that was killed needs a moment until its device is free
_LOOK_S = 0.1


class NodeFolders:
    """Where the parts of a life lie on the machine that runs it: apart from the pool's, should both be one machine."""

    def __init__(self, settings: PoolSettings, life_id: str) -> None:
        self.folder = settings.run_dir / "nodes"
        self.socket = self.folder / f"{short(life_id)}.sock"
        self.scratch = self.folder / f"{short(life_id)}.d"
        self.home = self.folder / f"{short(life_id)}.home"
        self.adapters = self.home / "adapters.json"


def process_file(spec: EngineSpec) -> Path:
    """Names the engine's process for the reading of the devices."""
    return spec.socket.with_suffix(".pid")


def fingerprint(model: Path) -> str:
    """Names and sizes of a model's files, and its config: to see soon that two machines differ. It proves nothing.

    Raises: OSError.
    """
    files = sorted(path for path in model.rglob("*") if path.is_file())
    listed = [f"{path.relative_to(model)} {path.stat().st_size}" for path in files]
    return hashlib.sha256("\n".join(listed).encode() + (model / "config.json").read_bytes()).hexdigest()


def check(spec: EngineSpec, expected: str) -> None:
    """Raises: OrderRefused with what is missing here."""
    if not os.access(spec.slot_python, os.X_OK):
        raise OrderRefused(f"no engine slot there: {spec.slot_python} can't be run")
    if not (spec.model_path / "config.json").is_file():
        raise OrderRefused(f"no model there: {spec.model_path} has no config.json")
    if fingerprint(spec.model_path) != expected:
        raise OrderRefused(f"the model there is another one: the files in {spec.model_path} differ from those here")


def make_folders(spec: EngineSpec) -> None:
    """Raises: OrderRefused where somebody else could read or change what lies there."""
    for folder in (spec.socket.parent, spec.scratch, spec.home, spec.cache):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = spec.socket.parent.stat()
    if held.st_uid != os.getuid() or held.st_mode & 0o077:
        raise OrderRefused(f"{spec.socket.parent} there is open to others: it has to be the appliance's user's alone")


def replace(path: Path | None, content: bytes) -> None:
    """Put a file in the place of another one, as a whole. Raises: OSError."""
    if path is None:
        raise OSError("it has no place for them")
    written = path.with_suffix(".new")
    written.write_bytes(content)
    written.replace(path)


def hold_devices(spec: EngineSpec, node: str, wait_s: float = LOCK_WAIT_S) -> list[int]:
    """Lock this machine's devices until this process ends, so that no two engines ever have one.

    Raises: OrderRefused when the last engine does not leave.
    """
    held = []
    deadline = time.monotonic() + wait_s
    for device in sorted(spec.devices, key=lambda device: device.id):
        path = spec.socket.parent / f"{node}-{device.id.replace(':', '-')}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        held.append(descriptor)
        while not is_locked(descriptor):
            if time.monotonic() >= deadline:
                raise OrderRefused(f"{device.id} there is still held by another engine")
            time.sleep(_LOOK_S)
    return held


def is_locked(descriptor: int) -> bool:
    """Whether the file's lock is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
