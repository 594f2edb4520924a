"""A bundle's files as they lie on the disk: listed without following links, read with a bound, held against what was signed."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ops.bundle.errors import BundleRefused
from ops.bundle.layout import target_path
from ops.bundle.signing import Target
from ops.slots.files import sha256_of

MAX_METADATA_BYTES = 8 * 1024 * 1024
MAX_FAULTS = 50
_ROOT = re.compile(r"metadata/([1-9][0-9]{0,8})\.root\.json", re.ASCII)


@dataclass(frozen=True)
class Tree:
    """All that lies below a bundle's directory, by relative path."""

    directory: Path
    files: frozenset[str]
    directories: frozenset[str]

    def read(self, path: str) -> bytes:
        """Read one metadata file.

        Raises: BundleRefused when it is missing or too large to be one.
        """
        if path not in self.files:
            raise BundleRefused([f"{path}: missing"])
        try:
            descriptor = os.open(self.directory / path, os.O_RDONLY | os.O_NOFOLLOW)
            with open(descriptor, "rb") as file:
                content = file.read(MAX_METADATA_BYTES + 1)
        except OSError as error:
            raise BundleRefused([f"{path}: can't be read ({error.strerror})"]) from None
        if len(content) > MAX_METADATA_BYTES:
            raise BundleRefused([f"{path}: too large"])
        return content

    def root_versions(self) -> list[int]:
        """The versions of the roots that lie there, ascending."""
        return sorted(int(match[1]) for match in map(_ROOT.fullmatch, self.files) if match)


def list_tree(directory: Path) -> Tree:
    """List a bundle.

    Raises: BundleRefused when it is no directory or holds anything but plain files and directories.
    """
    if not directory.is_dir():
        raise BundleRefused([f"{directory}: no such directory"])
    found = sorted(_walk(directory))
    faults = [f"{path!r}: neither a plain file nor a directory" for path, kind in found if kind == "other"]
    if faults:
        raise BundleRefused(faults[:MAX_FAULTS])
    return Tree(
        directory,
        frozenset(path for path, kind in found if kind == "file"),
        frozenset(path for path, kind in found if kind == "directory"),
    )


def name_faults(tree: Tree, metadata: Sequence[str], targets: Sequence[Target]) -> list[str]:
    """Name what is missing and what nobody signed, directories included."""
    expected = {*metadata, *(target_path(target.path) for target in targets)}
    parents = {str(parent) for path in expected for parent in Path(path).parents} - {"."}
    faults = [f"{path}: missing" for path in sorted(expected - tree.files)]
    faults += [f"{path!r}: not part of the bundle" for path in sorted(tree.files - expected)]
    faults += [f"{path!r}: not part of the bundle" for path in sorted(tree.directories - parents)]
    return faults[:MAX_FAULTS]


def content_faults(directory: Path, targets: Iterable[Target]) -> list[str]:
    """Read every target and name those that differ from what was signed."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda target: target_fault(directory, target), targets))
    return [fault for fault in found if fault][:MAX_FAULTS]


def target_fault(directory: Path, target: Target) -> str | None:
    """Say in what one target differs from what was signed."""
    path = target_path(target.path)
    try:
        size = (directory / path).lstat().st_size
        if size != target.size_bytes:
            return f"{path}: {size} bytes instead of {target.size_bytes}"
        if sha256_of(directory / path) != target.sha256:
            return f"{path}: changed"
    except OSError as error:
        return f"{path}: can't be read ({error.strerror})"
    return None


def is_target(content: bytes, target: Target) -> bool:
    """Whether these bytes are the target."""
    return len(content) == target.size_bytes and hashlib.sha256(content).hexdigest() == target.sha256


def _walk(directory: Path) -> Iterator[tuple[str, str]]:
    waiting = [""]  # a list and no recursion: how deep it goes is up to whoever made the disk
    while waiting:
        prefix = waiting.pop()
        try:
            entries = list(os.scandir(directory / prefix))
        except OSError as error:
            raise BundleRefused([f"{prefix or '.'}: can't be read ({error.strerror})"]) from None
        for entry in entries:
            path = prefix + entry.name
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                waiting.append(f"{path}/")
            yield path, "directory" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"
