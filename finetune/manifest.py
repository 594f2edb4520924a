"""manifest.json of an adapter or a checkpoint: the SHA-256 of every file, written last, so that its presence means complete.

The same format as a model's manifest, so that whoever serves verifies both alike. Standard library only: it is also
written inside an engine slot.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.files import sha256_of, write_json

FILE_NAME = "manifest.json"
FORMAT = 1


class NotWhole(Exception):
    """A directory without a readable manifest: it was cut short while it was written, or damaged since."""

    code = "not_whole"
    permanent = True


@dataclass(frozen=True)
class File:
    """One file, its path relative to the directory."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a complete directory holds. `digest` is the SHA-256 of manifest.json itself."""

    name: str
    origin: str
    licence: str
    files: tuple[File, ...]
    digest: str


def write(directory: Path, *, name: str, origin: str, licence: str) -> Manifest:
    """Sync every file of the directory, then declare it complete."""
    (directory / FILE_NAME).unlink(missing_ok=True)
    files = [_describe(directory, path) for path in _files_of(directory)]
    content = {"format": FORMAT, "name": name, "origin": origin, "licence": licence}
    write_json(directory / FILE_NAME, {**content, "files": [vars(file) for file in files]})
    return read(directory)


def read(directory: Path) -> Manifest:
    """Read a manifest, without looking at the other files.

    Raises: NotWhole when there is none or it can't be understood.
    """
    try:
        content = (directory / FILE_NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotWhole(f"{directory} has no {FILE_NAME}: it is not complete") from None
    try:
        return _parse(json.loads(content), hashlib.sha256(content).hexdigest())
    except (ValueError, TypeError, KeyError) as error:
        raise NotWhole(f"{directory / FILE_NAME} is damaged: {error}") from error


def verify(directory: Path) -> list[str]:
    """Name everything that differs from the manifest; an empty list when the directory is whole."""
    try:
        manifest = read(directory)
    except NotWhole as error:
        return [str(error)]
    listed = {file.path for file in manifest.files}
    others = [f"{path}: not in the manifest" for path in _files_of(directory) if str(path) not in listed | {FILE_NAME}]
    return others + [problem for file in manifest.files if (problem := _problem(directory, file))]


def _files_of(directory: Path) -> list[Path]:
    return sorted(path.relative_to(directory) for path in directory.rglob("*") if path.is_symlink() or path.is_file())


def _describe(directory: Path, path: Path) -> File:
    full = directory / path
    descriptor = os.open(full, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return File(str(path), full.stat().st_size, sha256_of(full))


def _problem(directory: Path, file: File) -> str | None:
    path = directory / file.path
    if path.is_symlink() or not path.is_file():
        return f"{file.path}: missing"
    if path.stat().st_size != file.size_bytes:
        return f"{file.path}: {path.stat().st_size} bytes instead of {file.size_bytes}"
    return None if sha256_of(path) == file.sha256 else f"{file.path}: changed"


def _parse(content: dict[str, Any], digest: str) -> Manifest:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']} is unknown")
    files = tuple(File(**file) for file in content["files"])
    for file in files:
        if Path(file.path).is_absolute() or ".." in Path(file.path).parts:
            raise ValueError(f"{file.path} leads out of the directory")
    return Manifest(content["name"], content["origin"], content["licence"], files, digest)
