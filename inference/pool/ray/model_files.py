"""Whether a model's files on this machine are those that were registered: its manifest's digest, every file's SHA-256.

What was read once is known again by what `stat` says of it, the kernel's time of change included, until the machine starts
anew: an engine's restart reads nothing, and of several engines that start at once one reads and the others wait.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from inference.pool.adapter_files import MANIFEST, as_object, open_plain, read_plain
from inference.pool.errors import AdapterRefused
from inference.pool.ray.errors import OrderRefused
from inference.pool.ray.files import is_locked, replace

_FORMAT = 1
_PIECE_BYTES = 4 * 1024 * 1024
_READERS = 4
_LOOK_S = 0.2


class Abandoned(Exception):
    """Nobody wants the answer any more."""


@dataclass(frozen=True)
class _Read:
    """A file's SHA-256, and what it looked like when it was read: device, inode, size, times of change."""

    stamp: tuple[int, int, int, int, int]
    sha256: str


def verify(model: Path, digest: str, folder: Path, stop: threading.Event) -> int:
    """Compare all files with the registered manifest; how many had to be read. `folder` is where that is remembered.

    Raises: OrderRefused with the first thing that is wrong; Abandoned once `stop` is set; OSError.
    """
    memory = folder / f"model-{hashlib.sha256(str(model).encode()).hexdigest()[:16]}.json"
    with _alone(memory.with_suffix(".lock"), stop):
        known = _remembered(memory)
        read: dict[str, _Read] = {}
        try:
            _read_all(model, _listed(model, digest), known, read, stop)
        except AdapterRefused as refusal:  # what opens plain files says it so
            raise OrderRefused(f"the model there is not the registered one: {refusal}") from None
        finally:  # what was read before somebody gave up need not be read again
            if read:
                replace(memory, msgspec.json.encode(known | read if stop.is_set() else read))
    return sum(known.get(name) != now for name, now in read.items())


def _read_all(
    model: Path, listed: dict[str, str], known: dict[str, _Read], read: dict[str, _Read], stop: threading.Event
) -> None:
    """Read what is not known into `read`, and compare."""
    found = {str(path.relative_to(model)) for path in model.rglob("*") if not path.is_dir() or path.is_symlink()}
    others = sorted(found - {MANIFEST} ^ listed.keys())
    if others:
        raise AdapterRefused(f"{model}: its files are not those of its manifest: {', '.join(others[:5])}")

    def look(name: str) -> None:
        read[name] = _read(model / name, known.get(name), stop)

    with ThreadPoolExecutor(min(_READERS, os.cpu_count() or 1)) as readers:
        list(readers.map(look, listed))
    for name, sha256 in listed.items():
        if read[name].sha256 != sha256:
            raise AdapterRefused(f"{model / name} was changed")


def _listed(model: Path, digest: str) -> dict[str, str]:
    """The SHA-256 of each file by its name, as the registered manifest has it."""
    content = read_plain(model / MANIFEST)
    if hashlib.sha256(content).hexdigest() != digest:
        raise AdapterRefused(f"{model / MANIFEST} is another one")
    manifest = as_object(content, MANIFEST)
    try:
        if manifest["format"] != _FORMAT:
            raise AdapterRefused(f"{model / MANIFEST} has an unknown format")
        return {str(file["path"]): str(file["sha256"]) for file in manifest["files"]}
    except (TypeError, KeyError) as error:
        raise AdapterRefused(f"{model / MANIFEST} is damaged") from error


def _read(path: Path, known: _Read | None, stop: threading.Event) -> _Read:
    digest = hashlib.sha256()
    with open_plain(path) as file:
        stamp = _stamp(file.fileno())
        if known is not None and known.stamp == stamp:
            return known
        while piece := file.read(_PIECE_BYTES):
            if stop.is_set():
                raise Abandoned
            digest.update(piece)
        if _stamp(file.fileno()) != stamp:
            raise AdapterRefused(f"{path} was changed while it was read")
    return _Read(stamp, digest.hexdigest())


def _stamp(descriptor: int) -> tuple[int, int, int, int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextlib.contextmanager
def _alone(path: Path, stop: threading.Event) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not is_locked(descriptor):
            if stop.wait(_LOOK_S):
                raise Abandoned
        yield
    finally:
        os.close(descriptor)


def _remembered(memory: Path) -> dict[str, _Read]:
    try:
        return msgspec.json.decode(memory.read_bytes(), type=dict[str, _Read])
    except (OSError, msgspec.DecodeError):
        return {}
