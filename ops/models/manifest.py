"""manifest.json: the SHA-256 of every file of a model directory, written last, so that its presence means complete.

Its own digest is the model's digest. It holds no time and no path: the same files give the same digest everywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.models.contents import files_of, refusals
from ops.models.errors import ModelIncomplete, RefusedFile
from ops.slots.files import sha256_of, write_json

FILE_NAME = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class File:
    """One file of a model, its path relative to the model's directory."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A complete model directory. `origin` says where the weights come from, `licence` under which terms."""

    name: str
    origin: str
    licence: str
    files: tuple[File, ...]
    digest: str


def write(directory: Path, *, name: str, origin: str, licence: str) -> Manifest:
    """Declare the directory complete.

    Raises: RefusedFile when it holds a file that must not be in a model directory.
    """
    (directory / FILE_NAME).unlink(missing_ok=True)
    refused = list(refusals(directory))
    if refused:
        raise RefusedFile(f"{directory} can't become a model: " + "; ".join(refused))
    files = [_describe(directory, path) for path in files_of(directory)]
    write_json(
        directory / FILE_NAME,
        {"format": FORMAT, "name": name, "origin": origin, "licence": licence, "files": [vars(file) for file in files]},
    )
    return read(directory)


def read(directory: Path) -> Manifest:
    """Read a model's manifest, without looking at the other files.

    Raises: ModelIncomplete when there is none or it can't be understood.
    """
    try:
        content = (directory / FILE_NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ModelIncomplete(f"{directory} has no {FILE_NAME}: it is no complete model") from None
    try:
        return _parse(json.loads(content), hashlib.sha256(content).hexdigest())
    except (ValueError, TypeError, KeyError) as error:
        raise ModelIncomplete(f"{directory / FILE_NAME} is damaged: {error}") from error


def verify(directory: Path, *, sizes_only: bool = False) -> list[str]:
    """Name everything that differs from the manifest; an empty list when the model is whole.

    `sizes_only` reads no content: enough to notice a lost or cut file at every start, not to notice a changed one.
    """
    try:
        manifest = read(directory)
    except ModelIncomplete as error:
        return [str(error)]
    listed = {file.path for file in manifest.files}
    problems = [f"{path}: not in the manifest" for path in _others(directory) if path not in listed]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda file: _problem(directory, file, sizes_only), manifest.files)
        problems += [problem for problem in found if problem]
    return problems + ([] if sizes_only else list(refusals(directory)))


def _others(directory: Path) -> list[str]:
    return [str(path) for path in files_of(directory) if str(path) != FILE_NAME]


def _describe(directory: Path, path: Path) -> File:
    full = directory / path
    descriptor = os.open(full, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return File(str(path), full.stat().st_size, sha256_of(full))


def _problem(directory: Path, file: File, sizes_only: bool) -> str | None:
    path = directory / file.path
    if path.is_symlink() or not path.is_file():
        return f"{file.path}: missing"
    if path.stat().st_size != file.size_bytes:
        return f"{file.path}: {path.stat().st_size} bytes instead of {file.size_bytes}"
    if not sizes_only and sha256_of(path) != file.sha256:
        return f"{file.path}: changed"
    return None


def _parse(content: dict[str, Any], digest: str) -> Manifest:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']} is unknown")
    files = tuple(File(**file) for file in content["files"])
    for file in files:
        if Path(file.path).is_absolute() or ".." in Path(file.path).parts:
            raise ValueError(f"{file.path} leads out of the model's directory")
    return Manifest(content["name"], content["origin"], content["licence"], files, digest)
