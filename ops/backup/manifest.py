"""manifest.json of a backup: what it holds, of which appliance, at which moment. Written last: its presence means complete."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from finetune.files import sha256_of, write_json
from ops.backup.contents import KEPT
from ops.backup.errors import NotWhole

FILE_NAME = "manifest.json"
DUMP = "database.dump"
DATA = "data"
FORMAT = 1


@dataclass(frozen=True)
class File:
    """One file, its path relative to the backup."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Model:
    """A model version that the rows speak of. Its weights are not in a backup."""

    name: str
    digest: str
    path: str


@dataclass(frozen=True)
class Ledger:
    """The ledger's rows and sums at the moment of the dump."""

    rows: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Head:
    """The newest entry of the audit log at the moment of the dump; 0 where there is none."""

    seq: int
    hash: str


@dataclass(frozen=True)
class Facts:
    """What the database held at the moment of the dump, read in the dump's own snapshot."""

    taken_at: str
    server_version: int
    database_bytes: int
    migrations: tuple[str, ...]
    models: tuple[Model, ...]
    ledger: Ledger
    audit: Head


@dataclass(frozen=True)
class Manifest:
    """All of it. `data_dir` and `cache_dir` are those of the appliance that was backed up."""

    coderack: str
    data_dir: str
    cache_dir: str
    dump_version: int
    facts: Facts
    notes: tuple[str, ...]
    files: tuple[File, ...]
    digest: str = ""


def write(folder: Path, manifest: Manifest) -> Manifest:
    """Declare a backup complete, readable by its owner only."""
    content = {"format": FORMAT, **asdict(manifest)}
    del content["digest"]
    write_json(folder / FILE_NAME, content)
    (folder / FILE_NAME).chmod(0o600)
    return read(folder)


def read(folder: Path) -> Manifest:
    """Read a manifest, without looking at the files.

    Raises: NotWhole when there is none, or it can't be understood.
    """
    path = folder / FILE_NAME
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotWhole([f"{path} can't be read ({error.strerror}): {folder} is no complete backup"]) from None
    try:
        value = json.loads(content)
        if value["format"] != FORMAT:
            raise ValueError(f"format {value['format']} is of another version")
        return _parse(value, hashlib.sha256(content).hexdigest())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotWhole([f"{path} is damaged: {error}"]) from None


def _parse(value: Mapping[str, Any], digest: str) -> Manifest:
    facts = value["facts"]
    files = tuple(File(str(f["path"]), int(f["size_bytes"]), str(f["sha256"])) for f in value["files"])
    for file in files:
        if not _is_inside(file.path):
            raise ValueError(f"{file.path!r} leads out of the backup, or to what no backup holds")
    return Manifest(
        coderack=str(value["coderack"]),
        data_dir=str(value["data_dir"]),
        cache_dir=str(value["cache_dir"]),
        dump_version=int(value["dump_version"]),
        facts=Facts(
            taken_at=str(facts["taken_at"]),
            server_version=int(facts["server_version"]),
            database_bytes=int(facts["database_bytes"]),
            migrations=tuple(map(str, facts["migrations"])),
            models=tuple(Model(**model) for model in facts["models"]),
            ledger=Ledger(**facts["ledger"]),
            audit=Head(**facts["audit"]),
        ),
        notes=tuple(map(str, value["notes"])),
        files=files,
        digest=digest,
    )


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    whole = "\0" not in path and ".." not in parts and str(PurePosixPath(path)) == path
    return path == DUMP or (whole and len(parts) > 1 and parts[0] == DATA and parts[1] in KEPT)


def verify(folder: Path, manifest: Manifest) -> None:
    """Read every file of a backup.

    Raises: NotWhole naming all that is missing, changed, or in it and not in the manifest.
    """
    listed = {file.path for file in manifest.files} | {FILE_NAME}
    faults = [f"{path}: not in the manifest" for path in sorted(set(_files_of(folder)) - listed)]
    faults += [fault for file in manifest.files if (fault := _fault(folder, file))]
    if DUMP not in listed:
        faults.append(f"{DUMP}: not in the manifest")
    if faults:
        raise NotWhole(faults)


def _fault(folder: Path, file: File) -> str | None:
    path = folder / file.path
    try:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            return f"{file.path}: not a plain file"
        if facts.st_size != file.size_bytes:
            return f"{file.path}: {facts.st_size} bytes instead of {file.size_bytes}"
        return None if sha256_of(path) == file.sha256 else f"{file.path}: changed"
    except OSError as error:
        return f"{file.path}: can't be read ({error.strerror})"


def _files_of(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        yield from (os.path.relpath(os.path.join(parent, name), folder) for name in (*names, *links))
