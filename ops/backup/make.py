"""Makes a backup: one snapshot of the database, then the files its rows speak of, then the manifest.

Files are whole before a row speaks of them, so that copying them after the dump misses none but those deleted meanwhile.
Two are taken before it: the audit log's heads, each of which is then in the dump, and the journals' open files, whose lines
are in the dump's ledger or read afterwards, though the meter may have removed the file by then.
"""

from __future__ import annotations

import fcntl
import io
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from finetune.files import sha256_of
from ops.backup import manifest, tools
from ops.backup.contents import KEPT, unknown
from ops.backup.copying import begin, copy_open, copy_tree, publish
from ops.backup.errors import BackupError, BadTarget
from ops.backup.manifest import DATA, DUMP, Facts, File, Manifest
from ops.backup.space import require_space, size_of_kept

HEAD = "audit/head.jsonl"
JOURNAL = "journal"
MOST_NOTES = 100


@dataclass(frozen=True)
class Snapshot:
    """The database at one moment: where and under which name others see it, what it holds, which files its rows speak of."""

    dsn: str
    id: str
    facts: Facts
    expected: tuple[Path, ...]


@dataclass(frozen=True)
class Source:
    """The appliance to be backed up. `embedded`: its PostgreSQL is the wheel's own."""

    data_dir: Path
    cache_dir: Path
    embedded: bool
    version: str
    snapshot: Callable[[], AbstractContextManager[Snapshot]]


def make(source: Source, target: Path, announce: Callable[[], None], report: Callable[[str], None]) -> Manifest:
    """Write a backup to `target`, which is there whole or not at all; `announce` is called once nothing speaks against it.

    Raises: BackupError, OSError.
    """
    _require_outside(source, target)
    with _alone(source.data_dir):
        fresh = begin(target)
        try:
            require_space(fresh, size_of_kept(source.data_dir), "the backup")
            announce()
            made = _fill(source, fresh, report)
            publish(fresh, target)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    return made


def _fill(source: Source, fresh: Path, report: Callable[[str], None]) -> Manifest:
    notes: list[str] = []
    with ExitStack() as stack:
        journals = _opened(stack, _journals(source))
        heads = _read(source.data_dir / HEAD)
        with source.snapshot() as taken:
            needed = size_of_kept(source.data_dir) + taken.facts.database_bytes
            require_space(fresh, needed, "the backup")
            tool, version = tools.find("pg_dump", source.embedded, tools.major(taken.facts.server_version))
            report(f"dumping the database ({taken.facts.database_bytes / 2**20:.0f} MiB)")
            tools.dump(tool, taken.dsn, taken.id, fresh / DUMP)
        if tools.needs_newer_server(version, taken.facts.server_version):
            notes.append(
                f"it can be restored to PostgreSQL {tools.SETS_TIMEOUT} or newer only, because pg_dump was version {version}; "
                "with one of the server's own version in PATH it could be restored to that, too"
            )
        report("copying files")
        files = [File(DUMP, (fresh / DUMP).stat().st_size, sha256_of(fresh / DUMP))]
        files += _copy_journals(source, fresh, journals)
        files += [copy_open(io.BytesIO(heads), fresh, f"{DATA}/{HEAD}")] if heads is not None else []
        for name in sorted(KEPT.keys() - {"audit", JOURNAL}):
            files += copy_tree(source.data_dir / name, fresh, notes)
    notes += _missing(source, taken, files)
    notes += [
        f"{name} is nothing that Coderack knows, and left out" for name in unknown(source.data_dir, source.cache_dir)
    ]
    return manifest.write(fresh, Manifest(
        source.version, str(source.data_dir), str(source.cache_dir), version, taken.facts, tuple(notes[:MOST_NOTES]),
        tuple(files),
    ))  # fmt: skip


def _copy_journals(source: Source, fresh: Path, opened: Mapping[str, BinaryIO]) -> Iterator[File]:
    """What the opened journals hold by now, and those that were begun meanwhile."""
    with ExitStack() as stack:
        later = _opened(stack, [path for path in _journals(source) if path.name not in opened])
        for name, file in sorted({**opened, **later}.items()):
            yield copy_open(file, fresh, f"{DATA}/{JOURNAL}/{name}")


def _opened(stack: ExitStack, paths: Iterable[Path]) -> dict[str, BinaryIO]:
    """Journals by name; one that the meter has booked and removed meanwhile is in the ledger."""
    opened: dict[str, BinaryIO] = {}
    for path in paths:
        with suppress(FileNotFoundError):
            opened[path.name] = stack.enter_context(path.open("rb"))
    return opened


def _journals(source: Source) -> list[Path]:
    return sorted((source.data_dir / JOURNAL).glob("*.jsonl"))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _missing(source: Source, taken: Snapshot, files: list[File]) -> Iterator[str]:
    """What rows speak of and the copy does not have: lost before, or deleted while the backup was made."""
    copied = {file.path for file in files}
    for path in taken.expected:
        if not path.is_relative_to(source.data_dir):
            yield f"{path}, of which a row speaks, lies outside of the data directory, and is left out"
        elif f"{DATA}/{path.relative_to(source.data_dir)}" not in copied:
            yield f"{path.relative_to(source.data_dir)}, of which a row speaks, is not there"


def _require_outside(source: Source, target: Path) -> None:
    """Raises: BadTarget where the backup would hold itself."""
    place = target.resolve()
    inside = any(place.is_relative_to((source.data_dir / name).resolve()) for name in KEPT)
    if inside or place == source.data_dir.resolve():
        raise BadTarget(f"{target} lies in what is backed up: name a directory elsewhere, best on another disk")


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Raises: BackupError while another backup of this appliance is made."""
    with (data_dir / ".backup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError("another backup of this appliance is being made: wait for it") from None
        yield
