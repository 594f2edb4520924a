"""What the pool says that an engine's adapters are, and whether the files at hand are those. Runs inside the engine.

The pool keeps one file for each engine, with each adapter's directory, the digest of its manifest and whether it is to be
kept. The manifest has the digest of every file. Standard library only: nothing of the appliance is there to import.
"""

import errno
import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

MANIFEST = "manifest.json"
NEEDED = frozenset({"adapter_model.safetensors", "adapter_config.json"})
SUFFIXES = (".safetensors", ".json")  # next to others vLLM would unpickle
_MAX_JSON_BYTES = 16 * 1024 * 1024
_PIECE_BYTES = 4 * 1024 * 1024
TRIES = 3
_T = TypeVar("_T")

Signature = tuple[tuple[str, int, int, int, int], ...]


class AdapterRefused(ValueError):
    """The files of an adapter are not those that were registered. The text is for a client: it names no path."""


class FilesTouched(AdapterRefused):
    """Something touched the files while they were read; it may have been no more than their owner or mode."""


@dataclass(frozen=True)
class Wanted:
    """An adapter as the pool has it."""

    path: str
    digest: str
    pinned: bool


class WishFile:
    """The pool's file, read again whenever it is another one. The pool replaces it as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._wanted: dict[str, Wanted] = {}

    def read(self) -> dict[str, Wanted]:
        """The adapters by name, in the pool's order; none before the pool has said anything.

        What can't be read at the moment is as it was: in the middle of a step a fault would end the engine.
        """
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._seen:
                told = json.loads(self._path.read_bytes())
                wanted = {
                    one["name"]: Wanted(one["path"], one["digest"], one["pinned"] is True) for one in told["adapters"]
                }
                self._wanted, self._seen = wanted, seen
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError):
            return self._wanted
        return self._wanted


class Checker:
    """Compares an adapter's files with the digest that the pool gave, or gave when they were read first.

    An adapter that the pool no longer names may have requests under way: it keeps the digest that it had.
    """

    def __init__(self, wishes: WishFile) -> None:
        self.wishes = wishes
        self._digests: dict[int, str] = {}
        self._verified: dict[int, Signature] = {}
        self._lock = threading.Lock()

    def verify(self, name: str, path: str, number: int) -> Signature:
        """Read all of its files; what they look like to `stat`. `number` is the engine's own for the adapter.

        Raises: AdapterRefused.
        """
        return patiently(lambda: self._verify(name, path, number))

    def _verify(self, name: str, path: str, number: int) -> Signature:
        digest = self._digest_of(name, path, number)
        try:
            before = signature(Path(path))
            check_files(Path(path), digest)
        except OSError as error:
            raise AdapterRefused(f"adapter {name} can't be read: {error.strerror or type(error).__name__}") from error
        except AdapterRefused as fault:
            raise AdapterRefused(f"adapter {name} is not served: {fault}") from None
        self.unchanged(name, path, before)
        with self._lock:
            self._digests[number], self._verified[number] = digest, before
        return before

    def is_known(self, name: str, path: str, number: int) -> bool:
        """Whether nothing touched its files since they were verified, and the pool says nothing else of it."""
        try:
            return (
                self._verified.get(number) == signature(Path(path))
                and self._digest_of(name, path, number) == self._digests[number]
            )
        except OSError:
            return False

    def unchanged(self, name: str, path: str, before: Signature) -> None:
        """Raises: FilesTouched where something touched its files meanwhile."""
        try:
            after = signature(Path(path))
        except OSError:
            after = ()
        if after != before:
            raise FilesTouched(f"adapter {name} is not served: its files were changed while they were read")

    def _digest_of(self, name: str, path: str, number: int) -> str:
        wanted = self.wishes.read().get(name)
        if wanted is not None and wanted.path == path:
            return wanted.digest
        if number not in self._digests:
            raise AdapterRefused(f"adapter {name} is not served: the pool has not registered it for this engine")
        return self._digests[number]


def patiently(read: Callable[[], _T]) -> _T:
    """What is read, tried again where something touched the files meanwhile.

    Raises: FilesTouched at the third time.
    """
    for _ in range(TRIES - 1):
        try:
            return read()
        except FilesTouched:
            continue
    return read()


def signature(folder: Path) -> Signature:
    """Of the directory and each file what changes with every write and move: the kernel's time of change can't be set back.

    Raises: NotADirectoryError where it is a link; OSError.
    """
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    entries = [("", found), *((entry.name, entry.stat(follow_symlinks=False)) for entry in os.scandir(folder))]
    return tuple(
        sorted((name, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns) for name, found in entries)
    )


def check_files(folder: Path, digest: str) -> None:
    """Raises: AdapterRefused with the first thing that is wrong; OSError."""
    manifest = _read(folder / MANIFEST)
    if hashlib.sha256(manifest).hexdigest() != digest:
        raise AdapterRefused("its manifest is not the one that was registered")
    listed: dict[str, Any] = {one["path"]: one["sha256"] for one in json.loads(manifest)["files"]}
    found = {entry.name for entry in os.scandir(folder)} - {MANIFEST}
    if found != listed.keys() or not found >= NEEDED:
        others = ", ".join(sorted(found ^ listed.keys() | NEEDED - found))
        raise AdapterRefused(f"its files are not those of its manifest: {others}")
    for name, sha256 in listed.items():
        if not name.endswith(SUFFIXES):
            raise AdapterRefused(f"{name} is neither safetensors nor JSON")
        if _sha256(folder / name) != sha256:
            raise AdapterRefused(f"{name} was changed since it was registered")


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AdapterRefused(f"{path.name} is no plain file")
    return descriptor


def _read(path: Path) -> bytes:
    with os.fdopen(_open(path), "rb") as file:
        return file.read(_MAX_JSON_BYTES)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with os.fdopen(_open(path), "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
