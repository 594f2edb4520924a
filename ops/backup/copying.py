"""Copies into a backup and out of it: streamed, hashed on the way, synced, for their owner only; links are not followed."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from finetune.files import READ_BYTES, sync_directory
from ops.backup.contents import KEPT, is_left_out
from ops.backup.errors import BadTarget, NotEnoughSpace, NotWhole
from ops.backup.manifest import DATA, DUMP, FILE_NAME, File, Manifest

PARTS = (DATA, DUMP, FILE_NAME)


def copy_tree(source: Path, folder: Path, notes: list[str]) -> Iterator[File]:
    """Copy a file or a directory of the data directory below `folder`/data.

    Files are whole before a row speaks of them, and written once. What vanishes meanwhile was deleted, and is noted.
    """
    for path in plain_files(source, notes):
        relative = path.relative_to(source.parent)
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as file:
                yield copy_open(file, folder, f"{DATA}/{relative}")
        except FileNotFoundError:
            notes.append(f"{relative} was removed while the backup was made")


def copy_open(file: BinaryIO, folder: Path, path: str) -> File:
    """Copy what can be read from an open file to `path` in the backup."""
    target = folder / path
    _make_private(target.parent)
    size, digest = _stream(file, target)
    return File(path, size, digest)


def put_back(folder: Path, manifest: Manifest, data_dir: Path) -> None:
    """Copy a backup's files to a data directory, and see that each arrives as the manifest has it.

    Raises: NotWhole, OSError.
    """
    for listed in manifest.files:
        parts = Path(listed.path).parts
        if parts[0] != DATA:
            continue
        target = data_dir.joinpath(*parts[1:])
        _make_private(target.parent)
        with open(os.open(folder / listed.path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as file:
            if _stream(file, target) != (listed.size_bytes, listed.sha256):
                raise NotWhole([f"{listed.path}: changed while it was copied"])
    for name in KEPT:
        sync_tree(data_dir / name)
    sync_directory(data_dir)


def sync_tree(folder: Path) -> None:
    """Make every directory of a tree survive a power cut."""
    for parent, _, _ in os.walk(folder, topdown=False):
        sync_directory(Path(parent))


def begin(target: Path) -> Path:
    """An empty directory `<target>.new`, of which a killed backup's is removed; its owner's only.

    Raises: BadTarget where the target is taken or can't be made.
    """
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise BadTarget(f"{target} is there already: name a new directory")
    fresh = target.with_name(f"{target.name}.new")
    try:
        if fresh.is_dir() and not fresh.is_symlink():
            _require_unfinished(fresh)
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700, parents=False)
    except FileNotFoundError:
        raise BadTarget(f"{target.parent} does not exist: make it first, or mount what should be there") from None
    except OSError as error:
        raise BadTarget(f"{fresh} can't be made: {error.strerror}") from None
    return fresh


def publish(fresh: Path, target: Path) -> None:
    """Give a finished backup its name."""
    sync_tree(fresh)
    fresh.rename(target)  # an empty directory of this name is replaced
    sync_directory(target.parent)


def plain_files(source: Path, notes: list[str]) -> Iterator[Path]:
    """The files that a backup takes of an entry of the data directory; a link in their place is noted.

    Raises: OSError where a directory can't be read.
    """
    if not source.is_dir():
        yield from _plain(source, source.parent, notes)
        return
    for parent, folders, names in os.walk(source, onerror=_unless_removed):
        within = Path(parent).relative_to(source.parent)
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        folders[:] = sorted(name for name in folders if not is_left_out(within / name))
        for name in sorted([*names, *links]):
            if not is_left_out(within / name):
                yield from _plain(Path(parent, name), source.parent, notes)


def _plain(path: Path, data_dir: Path, notes: list[str]) -> Iterator[Path]:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if path.parent != data_dir:  # it was listed: whoever copies it notes that it was removed
            yield path
        return
    if stat.S_ISREG(mode):
        yield path
    else:
        notes.append(f"{path.relative_to(data_dir)} is no plain file, and left out")


def _unless_removed(error: OSError) -> None:
    """What os.walk can't list: a directory that was removed meanwhile is none; any other must not be missing unseen."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _make_private(folder: Path) -> None:
    """Make a directory and each missing parent for their owner only; mkdir's own `parents` gives these the default mode."""
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _require_unfinished(fresh: Path) -> None:
    strange = sorted(path.name for path in fresh.iterdir() if path.name not in PARTS and not path.name.startswith("."))
    if strange:
        raise BadTarget(f"{fresh} is there and no unfinished backup ({', '.join(strange[:3])}): move it away")


def _stream(file: BinaryIO, target: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    try:
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
            while piece := file.read(READ_BYTES):
                digest.update(piece)
                size += len(piece)
                written.write(piece)
            written.flush()
            os.fsync(written.fileno())
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NotEnoughSpace(f"{target.parent} is full: make room or choose another disk") from None
        raise
    return size, digest.hexdigest()
