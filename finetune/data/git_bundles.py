"""Reads the files of a git bundle's newest commit. Nothing is checked out: objects go into a bare repository of their own, and
files are read from it one by one.

Git gets no configuration, no hooks, no network and bounded time and memory. Its own checks (`index-pack --strict`) refuse
damaged objects and trees that name `..`, `.git` or a file twice; every path passes the same checks as an archive's as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from finetune.data.errors import DatasetRefused
from finetune.data.limits import DEFAULT, Limits
from finetune.data.members import Doorkeeper, Member

SIGNATURES = (b"# v2 git bundle\n", b"# v3 git bundle\n")
FORMATS = {b"@object-format=sha1": "sha1", b"@object-format=sha256": "sha256"}
HEADER_BYTES = 1024 * 1024
ENTRY_BYTES = 64 * 1024  # of a path and what stands before it; names in a tree have no bound of their own
BRANCHES = (b"HEAD", b"refs/heads/main", b"refs/heads/master", b"refs/heads/trunk", b"refs/heads/develop")
# Old repositories are full of these, and they hide nothing from somebody who reads one tree.
HARMLESS = (
    "zeroPaddedFilemode", "badFilemode", "missingEmail", "missingNameBeforeEmail", "missingSpaceBeforeEmail", "badEmail",
    "badName", "badDate", "badDateOverflow", "badTimezone", "missingSpaceBeforeDate", "zeroPaddedDate", "missingTaggerEntry",
    "badTagName", "nullSha1", "emptyName",
)  # fmt: skip
CPU_S, MEMORY_KIB = 900, 2 * 1024 * 1024
LINK, SUBMODULE = b"120000", b"160000"
LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class Header:
    """What stands before a bundle's objects. `commit` is the one to read."""

    commit: str
    object_format: str
    size_bytes: int


def faults_of_header(source: Path) -> list[str]:
    """What is wrong with the bundle as far as its header tells; cheap, and without git."""
    try:
        header_of(source)
    except DatasetRefused as refused:
        return list(refused.faults)
    return []


def header_of(source: Path) -> Header:
    """Raises: DatasetRefused."""
    with source.open("rb") as file:
        if file.readline(HEADER_BYTES) not in SIGNATURES:
            raise DatasetRefused(["the file isn't a git bundle of version 2 or 3, whatever its name says"])
        refs: dict[bytes, bytes] = {}
        object_format = "sha1"
        while (line := file.readline(HEADER_BYTES)) != b"\n":
            if not line.endswith(b"\n") or file.tell() > HEADER_BYTES:
                raise DatasetRefused(["the bundle's header is damaged or larger than 1 MiB; make it again"])
            line = line[:-1]
            if line.startswith(b"-"):
                raise DatasetRefused(["the bundle needs commits that it doesn't hold; make one of the whole history"])
            if line.startswith(b"@"):
                if line not in FORMATS:
                    raise DatasetRefused(["the bundle has an unknown capability, such as a filter; make a plain one"])
                object_format = FORMATS[line]
                continue
            commit, _, name = line.partition(b" ")
            refs[name] = commit
        return Header(_chosen(refs, object_format), object_format, file.tell())


def _chosen(refs: dict[bytes, bytes], object_format: str) -> str:
    heads = [name for name in refs if name.startswith(b"refs/heads/")]
    name = next((name for name in BRANCHES if name in refs), heads[0] if len(heads) == 1 else None)
    if name is None:
        raise DatasetRefused(["the bundle has no HEAD; make it with: git bundle create code.bundle HEAD"])
    commit = refs[name]
    if len(commit) != (64 if object_format == "sha256" else 40) or commit.strip(b"0123456789abcdef"):
        raise DatasetRefused(["the bundle's header is damaged; make it again"])
    return commit.decode()


def read(source: Path, limits: Limits = DEFAULT, scratch: Path | None = None) -> Iterator[Member]:
    """The files of the bundle's commit, one at a time in memory, always in the same order.

    `scratch` is a folder where the opened repository stays for another reading; its owner removes it.
    Raises: DatasetRefused.
    """
    header = header_of(source)
    if scratch is not None:
        yield from _members(_opened(source, header, scratch), header, limits)
        return
    with tempfile.TemporaryDirectory(prefix="coderack-bundle-") as folder:
        yield from _members(_opened(source, header, Path(folder)), header, limits)


def _opened(source: Path, header: Header, folder: Path) -> Path:
    """The bundle's objects in a bare repository, made once in a folder."""
    repository = folder / "bundle.git"
    if repository.is_dir():
        return repository
    work = folder / ".bundle.git"
    shutil.rmtree(work, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with source.open("rb") as file:
        _run(work, "init", "--quiet", "--bare", "--template=", f"--object-format={header.object_format}", str(work))
        file.seek(header.size_bytes)
        os.lseek(file.fileno(), header.size_bytes, os.SEEK_SET)  # git reads from the descriptor, not from the buffer
        strict = "--strict=" + ",".join(f"{name}=ignore" for name in HARMLESS)
        _run(work, "index-pack", "--stdin", strict, "--threads=1", stdin=file)
    work.rename(repository)
    return repository


def _members(repository: Path, header: Header, limits: Limits) -> Iterator[Member]:
    """All paths are checked before a file is read, so that a hostile one refuses the bundle as a whole."""
    door, wanted = Doorkeeper(limits), list[tuple[str, str, int]]()
    for mode, name, size_bytes, path in _tree(repository, header.commit):
        admitted = door.admit(path, size_bytes)
        if mode in (LINK, SUBMODULE):
            wanted.append((admitted, "link" if mode == LINK else "submodule", -1))
        else:
            wanted.append((admitted, name, size_bytes))
    with _git(repository, "cat-file", "--batch", stdin=subprocess.PIPE) as process:
        for path, name, size_bytes in wanted:
            yield _member(process, path, name, size_bytes, limits)


def _member(process: subprocess.Popen[bytes], path: str, name: str, size_bytes: int, limits: Limits) -> Member:
    if size_bytes < 0:
        return Member(path, b"", name)
    if size_bytes > limits.member_bytes:
        return Member(path, b"", "too_large")
    data = _blob(process, name, size_bytes)
    return Member(path, b"", "large_file_pointer") if data.startswith(LFS) else Member(path, data)


def _tree(repository: Path, commit: str) -> Iterator[tuple[bytes, str, int, str]]:
    """Mode, object, size and path of each entry of the commit's tree; -r goes into directories, links and submodules stay."""
    with _git(repository, "ls-tree", "-r", "-z", "-l", "--full-tree", commit) as process:
        for entry in _entries(_pipe(process.stdout)):
            facts, _, path = entry.partition(b"\t")
            mode, _, name, size = facts.split()
            yield mode, name.decode(), int(size) if size.isdigit() else 0, path.decode("utf-8", "surrogateescape")
        if process.wait() != 0:
            raise _damaged()


def _entries(output: IO[bytes]) -> Iterator[bytes]:
    left = b""
    while piece := output.read(1 << 16):
        *whole, left = (left + piece).split(b"\0")
        if len(left) > ENTRY_BYTES:
            raise DatasetRefused([f"the bundle has a path of more than {ENTRY_BYTES} bytes; rename it"])
        yield from whole


def _blob(process: subprocess.Popen[bytes], name: str, size_bytes: int) -> bytes:
    asked, answered = _pipe(process.stdin), _pipe(process.stdout)
    try:
        asked.write(name.encode() + b"\n")
        asked.flush()
    except BrokenPipeError:
        raise _damaged() from None
    if answered.readline() != f"{name} blob {size_bytes}\n".encode():
        raise _damaged()
    data = answered.read(size_bytes + 1)
    if len(data) != size_bytes + 1:
        raise _damaged()
    return data[:-1]


def _damaged() -> DatasetRefused:
    return DatasetRefused(["the bundle's objects are damaged, incomplete or too large to unpack; make it again"])


def _run(repository: Path, *arguments: str, stdin: IO[bytes] | None = None) -> None:
    with _git(repository, *arguments, stdin=stdin) as process:
        _pipe(process.stdout).read()
        if process.wait() != 0:
            raise _damaged()


@contextmanager
def _git(repository: Path, *arguments: str, stdin: IO[bytes] | int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A git that knows nothing of this machine's configuration; it ends with the block."""
    git = shutil.which("git")
    if git is None:
        raise DatasetRefused(["git bundles can't be read here: git isn't installed; upload a .tar.gz or .zip"])
    # The shell sets the limits, so that nothing runs between fork and exec in a process that may have threads.
    # One limit for each command: dash takes no two at once, and then sets none. A failure means that a lower one holds.
    limited = f'ulimit -t {CPU_S} 2>/dev/null; ulimit -v {MEMORY_KIB} 2>/dev/null; exec "$@"'
    process = subprocess.Popen(
        ["/bin/sh", "-c", limited, "sh", git, *_SAFE, *arguments],
        cwd="/",
        env=_environment(repository),
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                _close(pipe)
        process.wait()


_SAFE = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "protocol.allow=never",
    "-c",
    "core.bigFileThreshold=8m",
    "-c",
    "gc.auto=0",
    # Packs are mapped piece by piece: git's own pieces of 1 GiB don't fit twice into the memory that it may have.
    "-c",
    "core.packedGitWindowSize=8m",
    "-c",
    "core.packedGitLimit=32m",
)


def _environment(repository: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_DIR": str(repository),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }


def _close(pipe: IO[bytes]) -> None:
    with suppress(BrokenPipeError):  # what was not yet written doesn't matter any more
        pipe.close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("no pipe")
    return pipe
